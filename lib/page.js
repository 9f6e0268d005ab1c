'use strict';
// what all pages share; a page's own script follows

function readJson(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

function readBytes(id) {
  const text = atob(document.getElementById(id).textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i); // ten times as fast as Uint8Array.from
  return bytes;
}

/** An element with properties and children; strings become text, never HTML. */
function element(tag, properties = {}, ...children) {
  const svg = ['svg', 'path', 'circle', 'line', 'text', 'g', 'rect', 'title'].includes(tag);
  const made = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (svg || name.includes('-') || name === 'role') made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** A table with a header row; a number is aligned to the right. */
function table(head, rows) {
  const cell = (tag, value) => element(tag, typeof value === 'number' ? {className: 'number'} : {}, String(value));
  return element('table', {}, element('thead', {}, element('tr', {}, ...head.map((name) => cell('th', name)))),
    element('tbody', {}, ...rows.map((row) => element('tr', {}, ...row.map((value) => cell('td', value))))));
}

const darkScheme = matchMedia('screen and (prefers-color-scheme: dark)');

/** [red, green, blue], 0..255, of a fraction 0..1: from the background to a dark (or light) blue, monotonic in grey. */
function colour(fraction) {
  const stops = darkScheme.matches ? [[23, 23, 26], [26, 74, 122], [96, 164, 224], [232, 244, 255]]
    : [[255, 255, 255], [170, 203, 236], [52, 120, 184], [8, 38, 84]];
  const place = Math.min(1, Math.max(0, fraction)) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(place));
  return stops[i].map((low, c) => Math.round(low + (place - i) * (stops[i + 1][c] - low)));
}
