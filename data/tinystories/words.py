"""
Names, things, places and turns of phrase for stories.py.

TABLES   what a story picks once and keeps: `prep|noun: adjectives that suit it`; prep only for places
PHRASES  what may be worded anew each time; {slots}, [this|that] and <phrase> work as in plots.grammar
The lists are long because the variety of the corpus comes from here, and sorted by what can be done with a
thing (worn, eaten, carried ...), so that nobody ever eats a ladder.
"""

GIRLS = '''Mia Anna Ella Nora Zoe Lucy Emma Clara Tess Maya Hana Sofia Rosa Amina Leila Priya Mei Greta
Nina Polly Kate Sara Lena Elsie Molly Bella Ines Julia Freya Yara Alma Carmen Edith Fatima Gina Helen
Isla Jenny Kira Lotte Marta Naomi Olive Paula Rita Selma Thea Vera'''.split()
BOYS = '''Tom Ben Sam Max Leo Jack Tim Finn Noah Omar Hugo Theo Milo Eli Oscar Felix Ravi Kofi Luis
Diego Jonas Peter Adam Anton Nils Henry Oliver Toby Kenji Emil Aron Bilal Carl David Ethan Fred George
Isak Jamal Karim Lukas Mateo Niko Pablo Rafi Simon Tariq Victor'''.split()
SHE_ANIMALS = '''Tilly Coco Fifi Hetty Kiki Lulu Mabel Olga Winnie Zuzu Pippa Trudy Bibi Dora Tansy Wilma
Agnes Biddy Dotty Effie Flossie Gilda Hilda Jojo Lottie Minnie Nettie Peggy Roxy Suki Tutu Vivi'''.split()
HE_ANIMALS = '''Pip Rollo Bruno Gus Momo Nino Otto Rufus Wally Benny Bertie Tiko Barnaby Hob Alfie
Monty Archie Basil Caspar Dexter Ernie Fritz Gaston Humphrey Jasper Kasper Lenny Mungo Norbert Percy
Quincy Ziggy'''.split()
SURNAMES = '''Finley Potts Murphy Alder Novak Okoro Garcia Lindgren Patel Barlow Tanaka Rossi'''.split()
NAMES = GIRLS + BOYS + SHE_ANIMALS + HE_ANIMALS + SURNAMES

# kind: how it goes, where it lives, what it likes to eat
ANIMALS = {
    'rabbit': ('hopped bounced skipped', 'burrow', 'carrots'),
    'mouse': ('scurried scampered ran', 'hole', 'sunflower seeds'),
    'hedgehog': ('shuffled trotted pattered', 'nest', 'blackberries'),
    'squirrel': ('scampered leaped ran', 'nest', 'hazelnuts'),
    'fox': ('trotted ran padded', 'den', 'plums'),
    'bear': ('padded marched plodded', 'cave', 'honey'),
    'badger': ('plodded trotted marched', 'den', 'mushrooms'),
    'mole': ('shuffled pattered hurried', 'burrow', 'radishes'),
    'beaver': ('waddled marched trotted', 'lodge', 'corn'),
    'otter': ('padded bounded ran', 'den', 'clams'),
    'raccoon': ('padded ran sneaked', 'hollow tree', 'peanuts'),
    'kitten': ('crept pranced ran', 'basket', 'cream'),
    'puppy': ('bounded ran trotted', 'kennel', 'biscuits'),
    'hamster': ('scurried trotted ran', 'nest', 'oats'),
    'panda': ('strolled padded trotted', 'hut', 'bamboo'),
    'monkey': ('ran jumped bounced', 'treehouse', 'bananas'),
    'dormouse': ('crept tiptoed pattered', 'nest', 'acorns'),
    'chipmunk': ('darted skipped ran', 'hollow log', 'walnuts'),
}
BIRDS = {
    'robin': ('flew hopped', 'nest', 'worms'),
    'owl': ('flew fluttered', 'nest', 'moths'),
    'sparrow': ('flew hopped', 'nest', 'seeds'),
    'swallow': ('flew sailed', 'nest', 'flies'),
}
CHILD_GOES = 'walked ran skipped hurried strolled raced marched'
FRIENDS = 'friend friend cousin neighbor'.split()
TRAITS = '''little young small curious cheerful kind clever gentle playful quiet merry brave shy busy
sweet lively friendly thoughtful dreamy silly polite funny'''.split()
LIVES = {
    'child': '''in a [small|tall|yellow|white|brick|wooden] house [by the sea|at the end of the
        road|near the park|on a hill|next to a bakery]|in a [busy|little|sleepy|noisy] [town|village]
        [by a river|near the mountains|by the sea|with a clock tower]|on a farm with [two|three|five]
        [cows|goats|horses|geese] and [a lazy dog|many hens|a grumpy rooster]|on the [third|fifth|top]
        floor of a [tall|gray|red|noisy] house|above a [bakery|toy shop|shoe shop|flower shop]''',
    'animal': '''in a [cozy|small|neat|warm|round] {home} [under a hill|by a stream|near an old
        mill|behind a waterfall|under the stars]|in a [cozy|snug|little|dry|sunny] {home} [at the edge
        of the forest|in the middle of the woods|next to a blackberry bush]|in the
        [deep|green|old|quiet] [forest|woods] [beyond the hills|near a lake|behind the farm|by the
        river]''',
}

TABLES = {
    'child_foods': '''pizza; pancakes; noodles; strawberries; ice cream; popcorn; grapes; waffles;
        cherries; toast; cake; watermelon; chocolate; soup''',
    'ages': 'four; five; six; seven; eight; nine',
    'banks': '''under the bridge; between two stones; in the reeds; behind a wet log; at the bend;
        beside the old dam; under a willow; in the weeds; by a sandy island; near the rapids; below the
        mill wheel; among the lilies''',
    'beds': '''roses: red; tulips: yellow; beans: green; tomatoes: ripe; carrots: young; peas: green;
        poppies: red; pumpkins: round; strawberries: sweet; cabbages: fat; radishes: pink; lilies:
        white; onions: brown; daisies: white; herbs: fresh; lettuces: green; marigolds: orange;
        sunflowers: tall''',
    'birds': '''robin: round young; sparrow: brown small; wren: tiny brown; blackbird: shiny young;
        swallow: quick blue; pigeon: plump gray; crow: black clever; magpie: noisy proud; starling:
        spotted young; finch: yellow little''',
    'boats': '''paper boat: white little neat; bark boat: brown small light; walnut boat: tiny round
        little; leaf boat: green light long; cork boat: brown round little; matchbox boat: tiny red
        little; toy ship: blue proud wooden; raft: flat little wooden''',
    'books': '''storybook: thick old red; fairy tale book: old golden worn; book of sea stories: blue
        old thick; animal book: big green worn; book of riddles: small red funny; pirate book: torn old
        black; songbook: little yellow old; atlas: huge old brown''',
    'bugs': '''ladybug: red tiny spotted; beetle: shiny black green; caterpillar: fuzzy long green;
        snail: slow small brown; cricket: noisy green thin; grasshopper: springy green long; moth:
        white dusty soft; dragonfly: blue shiny quick; spider: thin polite black; bumblebee: round
        striped fat; ant: tiny busy red; firefly: bright tiny golden; butterfly: yellow blue orange;
        centipede: long orange wiggly''',
    'cakes': '''apple pie: warm round sweet; honey cake: golden sticky round; plum tart: juicy sweet
        little; carrot cake: spicy tall round; lemon cake: yellow tall sweet; cherry pie: red hot
        sweet; banana bread: soft brown warm; nut cake: crunchy brown tall; berry pie: blue big juicy;
        ginger cake: dark sticky spicy; pear tart: golden neat sweet; pumpkin pie: orange spicy big;
        walnut loaf: brown crusty warm; peach pie: golden juicy warm''',
    'caps': '''hat: tiny red pointed; cap: blue little woolly; helmet: shiny walnut; scarf: long green;
        bonnet: white tiny; bow: big pink; beret: purple little; crown: golden paper''',
    'carried': '''barrel: big round empty; chair: wooden wobbly; sack of flour: heavy white; basket:
        wide full; mattress: striped soft; box: square heavy; clock: tall old loud; wheel: wooden
        round; tub: tin huge; drum: big round; bench: short wooden; stove: small iron''',
    'catchers': '''net: long green butterfly; fishing rod: old bent long; bucket: tin blue deep;
        ladder: long wooden shaky; sack: big brown empty; basket: round deep old; rope: long thick
        knotted; spoon: wooden giant long; soup ladle: silver long; broom: old long''',
    'colors': '''red; blue; green; yellow; orange; purple; pink; white; brown; golden; silver; black;
        gray; violet''',
    'crossings': '''over|river: wide green; over|canyon: deep; over|stream: wild; over|swamp: black;
        over|ditch: deep; over|brook: fast; over|gorge: dark''',
    'digging': '''shovel: blue little tin; bucket: red big yellow; spade: wooden green; spoon: big old;
        rake: small green; trowel: sharp little''',
    'digplaces': '''over the hill; through the swamp; along the river; across the meadow; around the
        pond; into the woods; past the old mill; under the bridge; through the tunnel; up the steep
        path; down to the shore; between two tall rocks; behind the waterfall''',
    'drinks': '''hot cocoa; warm milk; mint tea; honey milk; apple tea; hot lemon; vanilla milk; rose
        tea; plain water''',
    'elders': '''owl: old wise sleepy; tortoise: old wrinkled patient; goose: old bossy white; toad:
        old warty wise; heron: tall gray quiet; raven: old black clever; crane: tall patient old;
        stork: tall old white; donkey: old gray kind; goat: old bearded wise; ram: old woolly kind;
        cow: big gentle brown''',
    'finds': '''key: rusty little golden; coin: silver old round; bell: brass tiny bright; ring: golden
        thin shiny; button: blue shiny pearl; feather: white long blue; shell: pink smooth curly;
        bottle: green dusty glass; box: wooden tiny locked; medal: shiny round heavy; spoon: silver
        bent old; pebble: smooth white striped; ribbon: pink silky long; acorn: golden fat shiny;
        compass: brass old round''',
    'floats': '''ring: red striped fat; board: blue little wooden; ball: big orange bouncy; inner tube:
        black fat old; rubber duck: huge yellow friendly; rope: long thick white; water wing: orange
        tiny puffy; log: smooth light round; cork vest: brown bulky old; barrel: small empty round''',
    'flying': '''kite: red yellow paper striped; box kite: blue big old; paper dragon: green long;
        paper bird: white large; silk fish: golden long; paper butterfly: orange big; paper star:
        silver shiny''',
    'fragile': '''vase: blue tall pretty; plate: painted white fine; teapot: brown round flowery;
        mirror: round silver old; lamp: glass yellow tall; flowerpot: clay red round; bowl: blue china
        big; cup: china pretty thin; jug: white tall heavy; clock: old wooden loud; window: round clean
        little; pitcher: green glass fat; jar: glass round tall; snow globe: pretty little sparkly''',
    'grumps': 'bear; boar; badger; wolf; goose; old goat; moose; bull; walrus; porcupine; wild boar; lynx',
    'hiding': '''in the laundry basket; in the hay; under the big bed; behind the coats; in an empty
        barrel; under the sail; in the wardrobe; in a pile of leaves; behind the stove; in the
        wheelbarrow; under the stairs; in the old trunk; behind the curtain''',
    'house_pets': '''puppy: brown clumsy muddy spotted; kitten: gray tiny fluffy striped; cat: old lazy
        fat orange; dog: big shaggy old brown; rabbit: white soft lop-eared; goat: little stubborn
        bearded; guinea pig: fat brown hungry; terrier: little black wild''',
    'hurts': 'foot; cheek; ear; back; tail; left foot; front tooth; neck; knee; elbow; chin',
    'jobs': '''wash the dishes; sweep the floor; peel potatoes; make the beds; rake the leaves; clean
        the windows; fold the laundry; polish the shoes; feed the hens; carry the wood; weed the
        garden; shell the peas; pick the plums; mop the kitchen''',
    'junk': '''a dusty sock; an old button; a sleepy spider; a few crumbs; a penny; a feather; a bit of
        string; a cold pancake; a broken pencil; a dry leaf; a wooden spoon; a lonely mitten; a snoring
        beetle; a piece of cheese; a paper hat; an empty jar; a ball of wool; a rusty nail; half a
        biscuit; a surprised moth; a pair of glasses; a bar of soap; a slipper''',
    'ladders': '''ladder: long wooden shaky; rope ladder: old long thin; stool: tall three-legged; step
        ladder: green old rusty; table: big sturdy''',
    'lights': '''lantern: brass little old; candle: white thick short; lamp: small oil tiny;
        flashlight: big red strong; torch: bright small yellow''',
    'maps': '''map: old torn yellow folded; treasure map: dusty old real; drawing: faded strange old;
        scroll: brown dusty long; chart: old stained sea''',
    'night_animals': '''hedgehog: fat round prickly; cat: black stray thin; toad: fat old green;
        raccoon: young masked hungry; possum: gray small shy; goat: lost white stubborn; skunk: polite
        young striped; piglet: pink lost muddy; porcupine: sleepy old round; hen: brown lost silly''',
    'noses': '''carrot: long orange; radish: red round; parsnip: white long; beet: dark round; pepper:
        red crooked; potato: knobby big; turnip: purple small; cucumber: green fat''',
    'outdoors': '''by|pond: quiet green round; in|meadow: sunny wide flowery; in|forest: dark deep
        green; on|hill: windy steep grassy; in|garden: sunny little tidy; by|river: cool wide
        sparkling; in|orchard: old shady quiet; by|bridge: old wooden stone; by|stream: cool noisy
        clear; in|valley: green quiet misty; by|lake: blue calm wide; in|field: golden open muddy;
        by|mill: old tall creaky; on|beach: sandy windy sunny''',
    'outside_spots': '''under a bush; behind the old wall; in the tall grass; between the roots of an
        oak; beside the well; behind the shed; under the bench; by the gate; inside a hollow log; under
        the wooden steps; in a pile of leaves; behind a mossy rock; among the ferns; under the bridge;
        behind the woodpile; beside the hedge; in the ditch; next to the fence; under a wheelbarrow;
        behind the beehive''',
    'parts': '''a bathtub; three buckets; an umbrella; two bicycle wheels; a kettle; a wheelbarrow; a
        rain pipe; a bed spring; seven spoons; an old fan; a broken piano; a ladder; four brooms; a
        stovepipe; a fishing rod; a trumpet; a big funnel; two rakes; a birdcage; an old door''',
    'pictures': '''ship: proud tall big; house: tall crooked; garden: wide bright; train: long fast;
        tree: big old; castle: tall proud; river: long winding; meadow: wide sunny; city: big busy;
        mountain: high snowy; farm: happy busy; sunset: bright wild; circus: merry busy; horse: brave
        wild''',
    'plants': '''sunflower: tall golden; pumpkin: round orange; bean vine: tall green; tomato plant:
        tall bushy; poppy: red silky; melon: heavy green; squash: striped yellow; corn plant: tall
        green; pepper plant: sturdy green; hollyhock: tall pink; foxglove: purple tall; rosebush: red
        thorny; marigold: orange bright; pea vine: curly green; lily: white fine; young oak: proud
        little''',
    'robbers': '''mouse: thin little; hare: thin gray; vole: tiny brown; squirrel: thin red; shrew:
        small gray; marmot: old thin; weasel: thin white; wood rat: thin brown''',
    'shore': '''crab: small red shy; starfish: orange pretty; gull: white bold hungry; snail: blue
        slow; shrimp: tiny pink; hermit crab: busy small; sandpiper: quick little''',
    'skills': '''sing; whistle; dance; play the flute; play the drum; juggle; tell a story; play the
        fiddle; sing a song; say a poem; do magic; yodel''',
    'soups': '''carrot soup: orange hot; tomato soup: red hot; onion soup: brown hot; pea soup: green
        thick; mushroom soup: creamy hot; noodle soup: long-stirred hot; potato soup: thick warm;
        pumpkin soup: golden thick; leek soup: green warm; bean soup: thick hot; barley soup: plain
        warm; corn soup: yellow creamy''',
    'spots': '''under the bed; behind the door; under the table; in the cupboard; behind the big chair;
        under the pillow; in the laundry basket; on the windowsill; under the stairs; behind the stove;
        under the rug; in the wooden chest; behind the curtain; on the top shelf; in the bathtub; under
        the blanket; beside the broom; in the pantry; behind the clock; in the drawer; on the porch;
        between the cushions; under the bench; behind the mirror''',
    'stalls': '''flowers; cheese; fish; hats; honey; buttons; oranges; ribbons; mushrooms; candles;
        pickles; plums; bread; nuts; eggs; candy''',
    'toys': '''ball: red blue striped bouncy spotted; kite: red yellow paper striped; rag doll: pretty
        little old; teddy bear: brown soft fluffy old; drum: tin round little red; toy boat: wooden
        blue white; toy train: wooden green shiny; whistle: silver tin wooden; spinning top: striped
        bright wooden; music box: tiny golden old; paper crown: golden purple tall; picture book: big
        old colorful; toy rocket: silver shiny red; flute: wooden little bamboo; puppet: funny wooden
        wooly; lantern: brass little red; toy dragon: green wooden friendly; bucket: yellow shiny tin;
        trumpet: brass shiny toy; stuffed elephant: gray soft floppy; toy truck: yellow sturdy red;
        tambourine: little jingly red; sailor hat: blue white fine; marble: glass green shiny''',
    'traps': '''in the old fence; under a fallen branch; in a fishing net; in a thorn bush; between two
        rocks; in a broken crate; in a bramble; in a tangle of roots; under an old gate; in a coil of
        wire; between two planks; in a deep, dry pit''',
    'treats': '''cookies; muffins; pancakes; jam tarts; cinnamon rolls; waffles; buns; sandwiches;
        cupcakes; toast; popcorn; pretzels; biscuits; cheese''',
    'trees': '''oak; pine tree; birch; maple; chestnut tree; apple tree; willow; beech; pear tree;
        walnut tree; cedar; elm; ash tree; fir tree''',
    'valleys': '''in|canyon: red deep; on|mountain: high steep; in|valley: deep rocky; in|cave: dark
        wide; on|cliff: tall gray; in|quarry: old empty; in|gorge: narrow deep''',
    'vegs': '''turnip: fat purple; pumpkin: round orange; cabbage: green round; carrot: long orange;
        radish: red round; beet: dark fat; squash: striped heavy; parsnip: long white; cauliflower:
        white round; potato: brown lumpy; leek: tall green; onion: round golden''',
    'visitors': 'owl; cat; dog; frog; train; night bird; fox; ship; goose; donkey',
    'waters': '''by|pond: quiet; by|lake: calm; by|well: deep; by|millpond: dark; by|river: slow;
        by|puddle: big; by|ditch: still''',
    'wears': '''scarf: red woolly long striped; hat: blue pointed green warm; coat: yellow thick brown;
        sweater: green striped itchy; cape: purple silky red; vest: blue neat checked; apron: white
        spotted clean; shawl: gray soft woolly; jacket: orange patched new; raincoat: yellow shiny
        bright; bonnet: white lacy pink; cap: checked brown blue''',
    'wild': '''fox cub: red thin young; squirrel: red skinny small; hare: brown young long-eared; fawn:
        spotted tiny young; hedgehog: prickly round small; badger cub: striped little plump; owlet:
        gray fluffy tiny; lamb: white woolly lost; marten: brown quick young; wild duck: brown young
        green; weasel: thin brown young; wild kitten: gray striped thin''',
    'wishers': '''frog: golden old tiny; fish: silver old red; bird: white golden strange; dragonfly:
        golden shiny; beetle: silver old; moth: white glowing; snake: green polite; toad: old golden
        fat''',
    'wrong_things': '''salt; pepper; soap powder; mustard; garlic powder; chili powder; fish sauce;
        white sand; baking soda; starch''',
}

PHRASES = {
    # time and weather
    'weather': 'sunny|windy|cloudy|warm|bright|breezy|cool|misty|lovely|fresh|quiet|golden|mild|clear|fine',
    'time': 'morning|afternoon|day|morning',
    'season': 'spring|summer|autumn|April|May|June|September|October',
    'weekday': 'Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday',
    'spring': 'March|April|early spring|the spring|the first warm week',
    'one_day': '''one <weather> <time>|one <time> in <season>|one <weekday>
        [morning|afternoon|evening]|one <weather> <weekday>|early one <weather> morning|late one
        <weekday> afternoon|on a <weather> <time> in <season>|one <weather> <time>, right after
        breakfast|just before lunch one <weekday>''',
    'one_night': '''one <weather> night|one night in <season>|one <weekday> night|late one <weather>
        evening|on a <weather> night in <season>''',
    'one_snow': '''one cold winter morning|one morning in [December|January|February]|one <weekday> in
        [December|January|February]|one white <weekday> morning|one still winter morning|early one
        <weekday> in winter|one frosty <weekday> morning''',
    'soon': '''soon|before long|after a while|a little later|in no time|a moment later|bit by bit|after
        some time''',
    'then': 'just then|at that moment|all at once|suddenly|then|right then|all of a sudden',
    'next_day': '''the next <time>|the very next <time>|the following <time>|when the next <weekday>
        came|a day later''',
    'night': '''that night|that evening|at bedtime|when the stars came out|when the moon was up|late
        that evening''',
    # feelings
    'happy': 'happy|glad|cheerful|delighted|pleased|joyful|merry|very happy|so happy',
    'sad': 'sad|unhappy|gloomy|miserable|upset|blue|very sad|downhearted',
    'scared': 'scared|afraid|frightened|nervous|worried|uneasy|very scared',
    'cross': 'cross|angry|grumpy|annoyed|mad|very cross',
    'tired': 'tired|weary|worn out|sleepy|out of breath',
    'feel_sad': '''{He} felt <sad>.|{His} heart [sank|felt heavy|hurt a little].|A [big|hot|fat|round]
        tear [rolled|ran|slid] down {his} <cheek>.|{He} wanted to cry.|{His} lip
        [shook|trembled|wobbled].|{He} [sighed|sniffed|hung {his} head].|[There was|{He} had] a lump in
        {his} throat.''',
    'feel_happy': '''{He} felt <happy>.|{His} heart [jumped|danced|felt light|felt warm].|{He} [clapped
        {his} {hands}|danced in a circle|jumped for joy|laughed out loud|grinned from ear to ear|hummed
        a [happy|merry|little] tune].|{His} <part> [shone|glowed].|{He} could not stop
        [smiling|grinning|giggling].''',
    'feel_scared': '''{His} heart [beat|thumped|pounded] [fast|hard|like a drum].|{His} knees
        [shook|trembled|knocked together].|{He} felt <scared>.|{He} held {his} breath.|A cold shiver
        ran down {his} back.|{He} [hid {his} face|closed {his} eyes tight|did not dare to move].''',
    'cheek': 'cheek|nose',
    'part': 'face|eyes|cheeks|nose',
    'little_while': 'for a [minute|moment|while|long time]|and [thought|waited]',
    # speaking
    'cried': 'cried|shouted|called|yelled|exclaimed',
    'whispered': 'whispered|murmured|mumbled|breathed',
    'laughed': 'laughed|giggled|chuckled',
    'softly': 'softly|quietly|gently|in a [low|small|quiet|soft] voice',
    'doing': '''scratching {his} [ear|chin|head|neck]|rubbing {his} [nose|eyes|chin|forehead]|looking
        up|looking around|tilting {his} head|puffing out {his} cheeks|holding up one {hand}|tugging at
        {his} ear|rubbing {his} eyes|leaning closer|standing on tiptoe|blinking|folding {his}
        arms|shaking {his} head|nodding''',
    'warm': '''with a warm smile|smiling|stroking {his} head|sitting down beside {him}|with a
        kiss|nodding|with a wink|putting an arm around {him}|kneeling down|laughing softly|taking {his}
        {hand}|after a while|with a hug''',
    'glee': '''hopping up and down|clapping {his} {hands}|with shining eyes|dancing around|with a big
        grin|turning a somersault|waving both arms|beaming|spinning in a circle|jumping for
        joy|laughing|out of breath''',
    'gloom': '''with a sniff|with tears in {his} eyes|wiping {his} cheek|looking at {his} feet|in a
        shaky voice|with a sigh|hanging {his} head|in a very small voice|with a trembling lip|with a
        lump in {his} throat''',
    'wow': 'Oh|Wow|Hooray|Goodness|Look|My goodness|Oh my|Hurray|Yippee|At last',
    'oh_no': 'Oh no|Oh dear|Uh-oh|Oh, bother|Goodness me|Oops|Dear me|Oh my',
    'thanks': '''Thank you|Thank you so much|Thanks|Oh, thank you|Thank you, thank you|Many
        thanks|Thanks a lot''',
    'yes': 'Yes|Of course|Sure|Certainly|Gladly|Yes, please|With pleasure|I would love to',
    # the hero
    'meet': '''Once upon a time, there was {new H}.|Once upon a time, {new H} lived {lives}.|Once there
        [was|lived] {new H}.|There once was {new H} who lived {lives}.|{H} was a {trait} {kind} who
        lived {lives}.|{H} was a {trait} {kind} with <look>.|Not so long ago, {new H} lived
        {lives}.|{H^} lived {lives}.|Far away, {lives}, there lived {new H}.|There was once a {kind}
        with <look>, and {his} name was {H}.|This is the story of {H}, a {trait} {kind} with
        <look>.|{H} was a {trait} {kind}.|A {trait} {kind} named {H} lived {lives}.''',
    'look': '''a loud laugh|bright eyes|big ears|a spot on {his} nose|very quick feet|a gap between
        {his} teeth|a big appetite|a warm heart|round cheeks|muddy feet|a head full of ideas|a hundred
        questions|a tickly nose|a funny giggle|big brown eyes|a good memory|a [red|blue|green|yellow]
        scarf''',
    'liking': '''singing silly songs|collecting stones|counting clouds|jumping in puddles|telling
        jokes|asking questions|making up stories|climbing trees|looking at the stars|rolling down
        hills|building towers|whistling|drawing pictures|splashing in the stream|watching
        snails|playing hide and seek|dancing in the rain|eating {food}|solving riddles|chasing
        butterflies|making mud pies|listening to the birds''',
    'likes': '''{He} [loved|liked] <liking>[ more than anything| very much| all day long|].|{He} was
        always <liking>.|Most of all, {he} loved <liking>.|Every day {he} [spent hours|had fun|was
        busy] <liking>.''',
    # small things
    'flower': 'daisies|tulips|roses|poppies|bluebells|violets|buttercups|sunflowers|daffodils',
    'treat': '''cookies|muffins|pancakes|jam tarts|cinnamon
        rolls|waffles|buns|sandwiches|cupcakes|crackers and cheese|toast and
        jam|popcorn|pretzels|biscuits''',
}

# the words after a speech: <H_said>, <F_asked> and so on, for everybody who speaks
TAGS = {
    'said': '''{H} said|said {H}|{H} said with a [smile|nod|grin]|said {H} with a [smile|nod|wink]|{he}
        said|{H} said <softly>|said {H} <softly>|{he} said <softly>|{H} said, <doing>|said {H},
        <doing>|{he} said, <doing>''',
    'cheered': '''{H} <cried>|<cried> {H}|{H} <cried>, <glee>|<cried> {H}, <glee>|{he} <cried>,
        <glee>|{H} <laughed>|said {H}, <glee>''',
    'cried': '''{H} <cried>|<cried> {H}|{he} <cried>|{H} <cried> loudly|<cried> {H}, <doing>|{H}
        <cried>, <doing>''',
    'sobbed': '''{H} said, <gloom>|said {H}, <gloom>|{he} said, <gloom>|{H} <whispered>|<whispered>
        {H}|{H} <whispered>, <gloom>|<whispered> {H}, <gloom>|{he} <whispered>, <gloom>|{H}
        sobbed|sobbed {H}, <gloom>''',
    'asked': '''{H} asked|asked {H}|{he} asked|asked {H} <softly>|{H} asked <softly>|asked {H},
        <doing>|{H} asked, <doing>|{H} wanted to know|{he} asked, <doing>''',
}

# said in any of these ways wherever the first one stands in a plot; the second list only before another word
SYNONYMS = '''
all day long|all day long; Only|Only; only when|only when; only if|only if; just like|just like;
early in the morning|early in the morning|at sunrise; {He}|{H}; {fhe^}|{F};
{His} {p}|{His} {p}|{H}'s {p}; {His} {e}|{His} {e}|{H}'s {e}; began to|started to; big|large|big;
small|little|tiny; At last|Finally|In the end; jumped|leaped;
for a long time|for ages|for a good while; right away|at once; tummy|belly; beautiful|lovely|pretty;
until|till; looked at|gazed at|stared at; fast asleep|sound asleep;
every day|each day|every single day; every morning|each morning; every night|each night;
every evening|each evening; every Sunday|each Sunday; The next day|The following day|The day after;
The next night|The following night|The night after; all day|all day long|the whole day;
all night|all night long|the whole night;
From then on|After that|From that day on|Ever since that day|From that hour on;
After that|From then on|From that day on|Since then; everybody|everyone; nobody|no one;
somebody|someone; anybody|anyone; I am sorry|I am so sorry|I am very sorry; nearly|almost;
maybe|perhaps; saw a|spotted a|noticed a|saw a; road|lane|street; by {himself}|alone|on {his} own;
carefully|very carefully|with great care; Then {he}|Then {he}|And then {he}|So {he}|Next {he}|Then {H};
Then {H}|And then {H}|Next {H}|Soon {H}; So {H}|And so {H}|Then {H}|So {H};
So {he}|And so {he}|Then {he}|So {H}; But {he}|But {he}|But {H}; But then|But then|Then;
laughed|giggled|chuckled|laughed; ran home|hurried home|raced home|went home;
ran to|hurried to|rushed to|went to; ran out|rushed out|hurried out;
came running|came running up|came hurrying; went home|walked home|headed home;
did not know|had no idea; scared|afraid|frightened; shouted|yelled|called out;
took a deep breath|breathed in deeply|took a long breath; stood still|stopped|stood quite still;
looked around|peered around|looked left and right; far away|a long way off;
opened the door|pulled the door open; full of|filled with; over and over|again and again;
came back|returned|came back; in the morning|at sunrise|early the next morning;
In the morning|At sunrise|Early the next morning; In the evening|At sunset|After supper;
all the others|all the rest|the others; not far off|quite near; beside|next to;
near the|close to the|by the; a lot of|lots of|plenty of; nothing|not a thing;
nothing but|nothing but|only; said nothing|said nothing|said not a word; of it is|of it is;
never|never ever|never; each other|one another; all alone|quite alone; any more|any longer;
one more|another; like a|like a|just like a; the only|the only; not only|not only; only|only|just;
so that|so; tiny|teeny|very small|tiny; huge|giant|enormous; whole|entire|whole; path|trail|track;
yard|garden; stone|rock; story|tale; crept|sneaked|tiptoed; ran after|chased; threw|tossed|flung;
peeked|peered|peeped; fell into|tumbled into; fell down|tumbled down; fell on|tumbled on;
fell in|tumbled in; afraid|scared|frightened; asked for|begged for; gave {F}|handed {F};
gave {H}|handed {H}; put it|set it|laid it; put the {|set the {|laid the {;
took the|picked up the|grabbed the; three days|four days|five days; three times|four times|five times;
so loudly|so loud; walked away|went away|wandered off;
in the grass|in the tall grass|in the soft grass; pretended|made believe; hurried|hurried|rushed;
bag|sack; did not|didn't; do not|don't; does not|doesn't; will not|won't; would not|wouldn't;
could not|couldn't; cannot|can't; was not|wasn't; were not|weren't; is not|isn't; are not|aren't;
had not|hadn't; has not|hasn't; have not|haven't
'''
SHORT_FORMS = '''
it is|it's; that is|that's; I am|I'm; I will|I'll; we will|we'll; you will|you'll; you are|you're;
we are|we're; there is|there's; what is|what's; who is|who's; where is|where's; here is|here's;
let us|let's
'''
