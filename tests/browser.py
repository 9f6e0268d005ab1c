"""
Pages in headless Chromium, that of the system, driven by Playwright: it reports requests and messages.

    apt-get install chromium && pip install playwright
"""
import shutil
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
needs_browser = pytest.mark.skipif(not CHROMIUM or not find_spec('playwright'),
                                   reason='needs Chromium and the package playwright')


@contextmanager
def opened(path, width=1400, scheme='light', media='screen'):
    """
    The page of a file, Playwright's Page, which must not request or print anything, or be wider than width.
    """
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page(viewport={'width': width, 'height': 900}, color_scheme=scheme)
        page.emulate_media(media=media)
        requests, messages = [], []
        page.on('request', lambda request: requests.append(request.url))
        page.on('console', lambda message: messages.append(message.text))
        page.on('pageerror', lambda error: messages.append(str(error)))
        page.on('dialog', lambda dialog: messages.append(dialog.message))
        page.goto(f'file://{path}')
        try:
            yield page
            assert requests == [f'file://{path}'] and messages == []
            assert page.evaluate('document.documentElement.scrollWidth') <= width
        finally:
            browser.close()
