"""
The plots for stories.py: each a story written many times over, sentence by sentence.

    == name: heroes; slots=table              the hero is `any`, `child`, `animal`, or one of the kinds listed
    A sentence, or a few that belong together.
    / Another way to say it. One of these is chosen.
      A line that begins with two spaces continues the one above.
    ? A sentence that half of the stories have.
    (an empty line begins a paragraph)

Cast: {H} hero, {F} friend, {G} second friend, {O} a neighbor with a surname, {p} mom or dad ({P} as a name),
{e} grandma or grandpa ({E}); {he} {him} {his} {himself} are the hero's, with f, g, o, p or e before them the others'.
{new H} is `a shy rabbit named Pip`, {F+} `his friend Otto` or `Otto the owl`; for a thing, {+thing} is the noun with its
adjective, for a place {@place} has the preposition. <H_said>, <F_asked> and so on are the words after a speech.
"""

PLOTS = '''
== lost: any; thing=toys; a b c=spots; x y=junk
<meet> {His} favorite [thing|toy] in [the whole world|the {home}|all the world] was a {+thing}.
/ <meet> {He} had a {+thing}, and {he} [took it everywhere|would not sleep without it|carried it around all day|never let it out
  of {his} sight].
/ Nobody loved toys more than {new H}. The [best|dearest|finest|nicest] of all {his} toys was a {+thing}.
/ {H+} got a {+thing} from {his} {e}, and {he} loved it more than [cake|sweets|sunshine|{food}].
? <likes>

<One_day>, {H} [reached|looked|felt] for the {thing}, but it was [gone|missing|not there]. <Feel_sad>
/ <One_day>, the {thing} [was gone|could not be found|had vanished]. "<oh_no>! Where is my {thing}?" <H_sobbed>.
/ <One_day>, {H} came home and [saw|noticed|found] that the {thing} was [missing|gone|not in its place]. <Feel_sad>
"I [saw|had] it [yesterday|last night|before lunch|an hour ago]," {he} told {F+}. "[Will you help me look|Can you help me|Did
  you see it]?"
/ {F^} came to help. "[We will find it|It must be somewhere|A {thing} cannot fly away|Let us look for it]," <F_said>.
/ {He} asked {F+} to help. "<yes>!" <F_said>. "[I am good at finding things|Four eyes see more than two|Let us start
  right away]."
{H} looked {a}, but [there was only|all {he} found was] {x}. {F} looked {b} and [found|pulled out|came back with] {y}.
/ [First they|Together they|They] looked {a}. There was [nothing there but|only] {x}. {F} looked {b}. All {fhe} [found|saw] was {y}.
/ "Is it {a}?" <F_asked>. No, that was only {x}. "Is it {b}?" No, that was [just|only] {y}, [and {H} sighed|said {H}].
? "[Think hard|Think back|Close your eyes and think]," <F_said>. "[Where did you play|What did you do|Where were you] last?"
? {H} and {F} were <tired> [by now|already|from looking], but they did not [give up|stop].

<Then> {H} heard a [giggle|tiny laugh|squeak|soft noise] {c}. It was {his} baby [brother|sister], [hugging|holding|kissing] the
  {thing} with both {hands}.
/ <Then> {H} [clapped a {hand} to {his} head|stopped|began to laugh]. "[Now I know|I remember]! I [hid|put|left] the {thing} {c} so
  that [nobody could take it|it would be safe|it could have a nap]!"
/ <Then> {F} saw [something|a bit of it] sticking out {c}. It was the {+thing}! {H} <laughed> [and ran to it|out loud|and pulled
  it out].
/ In the end it was {H}'s {p} who [solved it|knew the answer|had news]. "I [washed|cleaned|polished] the {thing} for you," {phe}
  said. "It is {c}."
{H} laughed [so hard that|until] {his} tummy hurt. "[Let us all play with the {thing}|Now everybody gets a turn with it]," <H_said>.
/ "<wow>! [There you are|I missed you], {thing}!" <H_cheered>. Then {he} [hugged|thanked|tickled] {F}, too.
/ <Feel_happy> "[Thank you for helping me|I could not have done it alone|You are the best finder of all]," {H} told {F}.
<Night> {H} [tied|fastened] a [bell|ribbon|red string|string] to the {thing}, so that it [would never get lost|could not hide] again.
/ <Night> the {thing} [slept|lay] [right next to {H}|beside {H}'s pillow|in {H}'s arms], and [nobody was missing|all was well].
/ From then on, {H} put the {thing} [away|in its place|on its shelf] every [night|evening], and {F} [helped {him}|was glad].
/ "[Next time|Tomorrow] I will lose something [bigger|easier]," <H_said>. {F} laughed [and|but] put the {thing} [safely
  away|on the shelf|in {H}'s arms].

== broken: any; thing=fragile
<meet> {He} was [always in a hurry|never still for long|full of wild games|quick on {his} feet].
/ <meet> {He} loved to [run|race|dance|jump|spin] [indoors|around the table|from room to room|like a wild horse].
/ {H+} was not allowed to [run|play ball|jump|throw things] in the [living room|kitchen|hall], but {he} often forgot.
On the [shelf|table|windowsill] [stood|was] {his} {e}'s {+thing}. "[Be careful with it|Please do not touch it]," <e_said>.
/ {His} {e} had a {+thing} that {ehe} [loved|dusted every day|had kept for many years|had bought at the sea].
/ In {his} {e}'s room [stood|was] a {+thing}. It [came from far away|had been there for years|was the pride of the {home}].

<One_day>, {H} came [racing|skipping|dancing|running] by and [bumped|bounced] into it. Crash! The {thing} [fell|broke|lay on
  the floor].
/ <One_day>, {H} [threw|kicked|rolled] a ball. It [bounced twice|flew too high|hit the wall] and then, [crash|bang], it hit
  the {thing}.
/ <One_day>, {H} was [being a pirate|being a horse|dancing with a broom]. One [wild|big|silly] jump, a loud [crash|crack], and the
  {thing} was broken.
"<oh_no>!" <H_sobbed>. The {thing} had [a big crack|a hole in it|broken in two|lost a piece]. <Feel_scared>
/ {H} stood very still. "<oh_no>, [the|poor] {thing}," <H_sobbed>. "What will {E} say?"
/ The {thing} had [a big crack|a hole in it|broken in two|lost a piece], and {H} was all alone with it. <Feel_scared>
{H} [thought about|dreamed of] [hiding the {thing}|blaming the cat|running away|telling a fib]. But {his} tummy [began to hurt|did
  not like that idea].
/ {He} could hide the {thing} [under the rug|in a bag|behind the sofa]. {He} could [say|tell {E}] it was the [wind|cat|dog]. But that
  felt wrong.
/ Then {F+} came in. "[Tell {E} the truth|Just tell the truth]," <F_said>. "[I will come with you|It only hurts a minute]."

So {H} took a deep breath and {went} to {his} {e}. "I broke your {thing}," <H_sobbed>. "I am [so|very] sorry."
/ {He} {went} to {his} {e} with [slow steps|a red face|{his} head down]. "[It was me|I did it]," <H_sobbed>. "I broke the {thing}."
/ "{E}, [I did something bad|something happened]," <H_sobbed>. "Your {thing} is broken. [I am sorry|It was my fault|I was too wild]."
{E} was quiet <little_while>. "[A {thing} can be mended|The truth is worth more than a {thing}|That was brave of you]," <e_said>.
/ {His} {e} [looked at the pieces|sighed|put on {ehis} glasses]. "[It is only a {thing}|I broke a {thing} once, too]," <e_said>. "[Thank
  you for telling me|I am glad you told me]."
Together {H} and {his} {e} [got|fetched|found] the glue and [stuck|put] the {thing} back together, [bit by bit|piece by piece|very
  slowly].
/ All [afternoon|evening] {H} [sat|worked] with {his} {e} [at the kitchen table|by the window], with [glue on {his} nose|a pot of
  glue|sticky {hands}].
Now the {thing} had [a few|many|seven] thin lines, like [a map|a spider web|rivers]. "[Now it has a story|I like it better now|It
  has stripes]," <e_said>.
/ The {+thing} was [not perfect|a bit crooked] now, but it stood [straight|proudly] in its old place, and {H} [walked|tiptoed|crept] past
  it [from then on|every time].
/ <Night> the {thing} was back in its place. "[It looks even better|It has stripes now|It is almost new]," <H_said>, and {E} [laughed|had to
  agree|gave {him} a kiss].

== dark: any; where=spots; coat=wears
<meet> {He} was not [afraid|scared] of [storms|big dogs|spiders|heights], but {he} did not like the dark.
/ <meet> In the daytime {he} was as brave as a [lion|knight|captain|pirate]. But at night {H} was <scared>.
/ There was one thing that {H+} did not [like|want] at all, and that was the dark.
? Every [evening|night] {H} asked for [one more story|one more song|some water|one more kiss], just to [keep the lamp on|stay awake].

One [dark|windy|cold|stormy] night, {H} [woke up|opened {his} eyes|lay awake]. Something [big|black|tall|strange] [stood|was sitting] in
  the corner! It had [two long arms|a round head|a crooked nose].
/ One [dark|windy|cold|late] [evening|night], {H} [saw|noticed|found] a [shape|shadow] on the wall. It had [horns|long fingers|a huge
  mouth|big ears]! It [nodded|waved|wobbled].
/ One [quiet|cold|moonless|dark] night, {H} heard a [scratching|soft thump|strange rustle|creak] {where}. {He} [sat up|pulled the blanket
  up to {his} nose].
<Feel_scared> "{P}!" <H_sobbed>. "[There is a monster|Something is here|I think we have a visitor|Somebody is here]!"
/ {H} [pulled the blanket over {his} head|hid under the pillow]. "[Go away|Shoo|Leave me alone]!" {he} [cried|begged|squeaked]. <Feel_scared>
/ <Feel_scared> {H} called {his} {p}. "[A monster|Something big|Something strange] is in here!" <H_sobbed>.

{His} {p} came [in|quickly|on soft feet] with a [candle|little lamp|lantern]. "[Let us look together|Shall we say hello to it|Monsters
  hate to be looked at]," <p_said>.
/ "The dark is only [the day with its eyes closed|a big soft blanket|a room without a lamp]," <p_said>. "[Come, we will look|Let us look
  together|Take my hand]."
{H} [tiptoed|crept|walked] [closer|across the floor], [step by step|holding {phis} hand]. And what was it? Only [{his} own {+coat} on a
  hook|a chair with a {+coat}|a pillow with a {+coat}]!
/ {H} counted to [three|five|ten|seven] and [looked|peeked]. And what [was there|did {he} see]? Only [the branch of a tree|the curtain and
  the moon|{his} own boots|the cat's tail] and a {+coat}!
/ {H} got up with [shaky|wobbly] knees and held up the light. The monster was [a dusty moth|a tiny mouse|the neighbor's cat] on {his}
  {+coat}, and it was more <scared> than {him}!
"[Good evening, monster|You are not so scary|You could have told me]," <H_said>. {His} {p} [laughed|giggled|chuckled] [too|until {phe} had to
  sit down].
/ {H} [laughed|giggled] so [hard|loudly] that [the bed shook|{he} had to sit down]. "[Is that all|A {coat}|Only that]?" {he} said. "[Poor|Silly]
  monster!"
{P} opened the curtain. "[Without the dark, there are no stars|The dark makes the stars shine|The dark is where the stars live]," <p_said>.
/ Then {P} [put|blew] out the light. There were [hundreds|thousands] of stars [over the roof|outside the window], [white|bright|small] like
  [sugar|salt|crumbs|snow].
/ "[Now look|Look up]," <p_said>, and [opened the curtain|pointed at the window]. Outside the moon [hung|shone] over the [hill|roofs|trees]
  like a [lamp|pearl|slice of melon].
From that night on, {H} [said good night to|waved to|was friends with] the dark, and the {coat} [kept watch|stayed on its hook|was only a {coat}].
/ Soon {H} was asleep. In the corner the {coat} kept watch [like a good friend|until morning|until the sun came up].
/ The next [evening|night], {he} put out the lamp {himself}. "[Good night, dark|Sleep well, {coat}|Good night, monster]," <H_said>.

== share: any; food=cakes; place=outdoors; bird=birds
<One_day>, {new H} [won|got|was given|baked] a {+food}. It smelled so [good|sweet] that {his} nose [danced|tickled|twitched].
/ <meet> <One_day>, {his} {p} [baked|made] {him} a {+food}, [still warm|big and round|as big as {his} head|all for {him}].
/ {H+} liked nothing [more|better] than {food}. But <one_day>, {his} {p} [baked|made] {him} a {+food}, and that smelled even better.
{H} [carried|took|brought] it to a [quiet|secret|sunny] [place|spot] {@place}. "[I will eat it all by myself|Not one crumb for anybody
  else|All mine]," {he} [said|thought|sang].
/ {He} did not want to [share it|give any away|cut it in pieces]. So {H} hid it under {his} [coat|hat|shirt] and {went} to the {place}.

But {@place} sat {F+}. {fhe^} looked [thin|tired|cold|sad]. "What [smells so good|is that lovely smell]?" <F_asked>.
/ {He} had just [sat down|opened {his} mouth|found a spoon] when {F+} came by. {fhe^} [sniffed|looked at the {food}], and {fhis} tummy
  [growled|rumbled].
"[Nothing|Just the flowers|Only my old boots|Only the wind]," <H_said>, and {he} [turned around|sat on the {food}|hid the {food} behind {his}
  back].
/ "[It is mine|This {food} is mine]," <H_said>, and {he} took a [huge|very big|greedy] bite. Somehow it did not taste [right|as good as it
  smelled].
"Oh," <F_sobbed>. {fhe^} [looked at {fhis} feet|got up to leave|tried to smile]. [It was very quiet|Nobody said a word] {@place}.
/ {F} [nodded|smiled sadly] and [walked slowly away|looked at the ground]. Now the {food} tasted like [sand|paper|old socks|mud].
{H} [thought|remembered] how {F} had [shared {fhis} umbrella|carried {him} home|lent {him} {fhis} mittens|helped {him}] [last week|last
  winter|when {he} was sick].
/ {H} looked at the {food} and then at {F}. [It was far too much for one|Half of it would be plenty|It was big enough for two]. <Feel_sad>

"[Wait|Stop|Come back], {F}!" <H_cried>. "[I was greedy|I told a fib|I am sorry]. It is a {+food}, and [half of it is yours|there is enough
  for two]."
/ {H} cut the {food} [in the middle|in two] and gave {F} the [bigger|larger|best] [half|piece]. "[Here|This is for you]," <H_said>. "I am sorry."
{F}'s eyes [shone|grew round|lit up]. "<thanks>, {H}!" {fhe} said. {fhe^} [ate until {fhis} cheeks were sticky|licked {fhis} nose|took a big bite].
/ They sat [side by side|close together] and ate {food}. {F} told [a joke|a funny story about a goose|three riddles|a silly story],
  and {H} laughed [out loud|until crumbs flew].
? A {+bird} [came|hopped up|flew down] and got [a crumb|some crumbs|the last crumb], too.
"[You know what|Do you know something]?" <H_asked>. "Half a {food} with [a friend|you] is [better|more] than a whole one [alone|by myself]."
/ When the {food} was [gone|eaten], {F} [smiled|sighed happily|lay down in the sun]. "[Tomorrow|Next time] I will bake one for you, {H}," {fhe}
  said.
/ The {+food} was gone [too soon|in no time|quickly], but {H} felt [warm|good|happy] all day[, and so did {F}|]. It was the best {food} of
  {his} life.

== race: animal; elder=elders; place=outdoors; food=cakes; bug=bugs
<meet> {He} was [fast|quick|a good runner], and {he} [knew it|told everybody so|talked about it all day].
/ Nobody [in the forest|for miles around] was as [fast|quick] as {H+}. [At least, that is what {he} said|{He} said so every day].
/ {H+} had [quick|strong|long] legs and a [big|loud|proud] mouth. "I am the fastest [of all|in the land|in the forest]!" {he} said every day.
<One_day>, there was a [big|great] race to the {place} and back. The [prize was|winner would get] a {+food}.
/ <One_day>, the {+elder} [hung up|read out] a [note|sign]: "Race to the {place}! The winner gets a {+food}."
/ <One_day>, [everybody|all the animals] came to the {place} for a race. The [prize was|first one home would get] a {+food}.

{F} the {fkind} [wanted to run|came to run|was there], too. {fhe^} was [slow|not very fast], but {fhe} loved [to try|a good race|to have fun].
/ Next to {H} stood {F} the {fkind}, who had never won [anything|a race|a prize] [in {fhis} life|before].
"[Why do you even try|Go home|You will be last], {F}," <H_said>. "[We will see|I just like running|Good luck to you, too]," <F_said>.
/ "Shall I wait for you at the end, {F}?" <H_asked>. "[No|No need]," <F_said>. "[I like to run|Just have fun]."
? The {elder} lifted a [flag|leaf|red cloth]. "Ready, [set|steady], go!" And {H} [flew|shot|dashed] off.

{H} was far ahead [of {F}|of all the rest]. But [half way|by a big rock|at the bend|near a tree] {he} heard a [tiny|small] cry. A {+bug} [was
  stuck in the mud|lay in a puddle|was caught under a leaf].
/ {H} was first [at once|from the start|by a mile]. Then {he} saw a {+bug} in [the mud|a deep puddle|a ditch|a spider web]. "[Help|Please
  help me|I am stuck]!" it <cried>.
{H} looked at the [path|others] and then at the {bug}. "[I have no time|I cannot stop now]," {he} said[, and ran on|]. But {his} legs
  [grew heavy|slowed down|would not run].
/ "[Not now|Somebody else will do it|I must win]," thought {H}. But what if nobody else [came|stopped|helped] the {bug}? <Feel_sad>
So {H} turned around. [Carefully|Gently|Softly] {he} [lifted|picked] up the {bug} and put it [in the sun|on a leaf|on a flower], while {F} ran past.
/ So {he} went back, held out a [twig|stick|straw] and waited until the {bug} was [safe|out|dry]. Meanwhile, [{F}|everybody, even {F},] [ran|puffed]
  past.

When {H} came in, {he} was the very last. {F} had won! [Everybody clapped|The whole forest cheered|How they all clapped], and {fhe} [blushed|danced|bowed].
/ {F} came in first, [red in the face|puffing like a train|out of breath], and {H} came in last, [with muddy feet|all alone|very late].
"What happened to you, {H}?" <F_asked>. [Then|But] the {bug} [flew up|spoke up|came along] and told [everybody|the {elder}|them all] the [whole|true] story.
/ "{H} saved me," the {bug} told [them all|the {elder}|the crowd]. "[That is why you were last|That is better than winning]," the {elder} said to {him}.
{F} cut the {food} in two. "Half is for you, {H}," <F_said>. "[I like you better slow|You ran a good race|You won something, too]."
/ {H} shook {F}'s {hand}. "[Well done|Well run|Good race], {F}," {he} said, and {F} gave {him} the [biggest|first|best] piece of the {food}.
{H} was still [fast|quick] after that. But {he} did not [boast|brag] any more, and {he} [stopped for|said hello to|was nice to] every {bug}.
/ "Same time [next year|tomorrow|next week]?" <H_asked>. "<yes>," <F_said>, and they [ate|laughed] until [the sun went down|the {food} was gone].
/ When {H} [told|spoke] of that day, {he} never talked about being fast. {He} talked about a {bug}, [a good friend|{F}] and half a {food}.
'''
