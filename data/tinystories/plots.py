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
/ {H^} got a {+thing} from {his} {e}, and {he} loved it more than [cake|sweets|sunshine|{food}].
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
/ {H^} was not allowed to [run|play ball|jump|throw things] in the [living room|kitchen|hall], but {he} often forgot.
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
/ One [quiet|cold|moonless|dark] night, {H} heard a [scratching|soft thump|strange rustle|creak] {where}. {He} [sat up|sat up in bed|did not move|listened].
<Feel_scared> "{P}!" <H_sobbed>. "[There is a monster|Something is here|I think we have a visitor|Somebody is here]!"
/ {H} [pulled the blanket over {his} head|hid under the pillow]. "[Go away|Shoo|Leave me alone]!" {he} [cried|begged|squeaked]. <Feel_scared>
/ <Feel_scared> {H} called {his} {p}. "[A monster|Something big|Something strange] is in here!" <H_sobbed>.

{His} {p} came [in|quickly|on soft feet] with a [candle|little lamp|lantern]. "[Let us look together|Let us say hello to it|Monsters
  hate to be looked at]," <p_said>.
/ "The dark is only [the day with its eyes closed|a big soft blanket|a room without a lamp]," <p_said>. "[Come, we will look|Let us look
  together|Take my hand]."
{H} [tiptoed|crept|walked] [closer|across the floor], [step by step|holding {phis} hand]. And what was it? Only [{his} own {+coat} on a
  hook|a chair with a {+coat}|a pillow with a {+coat}]!
/ {H} counted to [three|five|ten|seven] and [looked|peeked]. And what [was there|did {he} see]? Only [the branch of a tree|the curtain and
  the moon|{his} own boots|the cat's tail] and a {+coat}!
/ {H} got up with [shaky|wobbly] knees and held up the light. The monster was [a dusty moth|a tiny mouse|the neighbor's cat] on {his}
  {+coat}, and it was more [scared|frightened|afraid] than {him}!
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
/ {H^} liked nothing [more|better] than {food}. But <one_day>, {his} {p} [baked|made] {him} a {+food}, and that smelled even better.
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
/ {H^} had [quick|strong|long] legs and a [big|loud|proud] mouth. "I am the fastest [of all|in the land|in the forest]!" {he} said every day.
<One_day>, there was a [big|great] race to the {place} and back. The [prize was|winner would get] a {+food}.
/ <One_day>, the {+elder} [hung up|read out] a [note|sign]: "Race to the {place}! The winner gets a {+food}."
/ <One_day>, [everybody|all the animals] came to the {place} for a race. The [prize was|first one home would get] a {+food}.

{F} the {fkind} [wanted to run|came to run|was there], too. {fhe^} was [slow|not very fast], but {fhe} loved [to try|a good race|to have fun].
/ Next to {H} stood {F} the {fkind}, who had never won [anything|a race|a prize] [in {fhis} life|before].
? "[Go home|You will be last|I will wait for you at the end], {F}," <H_said>. "[We will see|I just like running|Good luck to you, too]," <F_said>.

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
? [Then|But] the {bug} [flew up|spoke up|came along] and told [everybody|the {elder}|them all] the [whole|true] story of {H}.
{F} cut the {food} in two. "Half is for you, {H}," <F_said>. "[I like you better slow|You ran a good race|You won something, too]."
/ {H} shook {F}'s {hand}. "[Well done|Well run|Good race], {F}," {he} said, and {F} gave {him} the [biggest|first|best] piece of the {food}.
{H} was still [fast|quick] after that. But {he} did not [boast|brag] any more, and {he} [stopped for|said hello to|was nice to] every {bug}.
/ "Same time [next year|tomorrow|next week]?" <H_asked>. "<yes>," <F_said>, and they [ate|laughed] until [the sun went down|the {food} was gone].
/ When {H} [told|spoke] of that day, {he} never talked about being fast. {He} talked about a {bug}, [a good friend|{F}] and half a {food}.

== storm: any; thing=toys; cake=cakes
<meet> {He} liked [sun|snow|wind|fog] and [rain|rainbows|clouds|hail], but {he} was <scared> when it thundered.
/ <meet> There was just one kind of weather that {H} could not [stand|bear|like]: [a thunderstorm|thunder|lightning].
/ {H^} was [not afraid of much|nearly always brave]. But when the sky grew black and [the thunder rolled|lightning flashed], {he} was <scared>.

One [summer|hot|heavy] [evening|night|afternoon], [black|dark|gray] clouds came over the [hill|roofs|trees]. {H} [held|took|squeezed] {his} {+thing} and waited.
/ One [summer|hot|heavy] [evening|night|afternoon], the wind [pulled at|shook|slammed] the [door|shutters|gate], and {H} [ran to get|reached for] {his} {+thing}.
/ One [evening|night|afternoon], {H} was playing with {his} {+thing} when it got [dark|very dark|strangely quiet]. The first drops [fell|hit the window].
[Boom|Crash|Bang]! went the thunder. {H} [dived|crept|crawled] under the [table|bed|blanket] with {his} {thing}. <Feel_scared>
/ Then the sky [flashed|turned white] and the thunder [roared|cracked|growled] like a [bear|lion|giant]. {H} [dropped the {thing}|jumped|cried out]. <Feel_scared>

"[Who is under there|Is there room for two|May I come in]?" <p_asked>. {phe^} [crawled|crept] in beside {H} and brought [a pillow|a flashlight|a {+cake}|some <treat>].
/ {H}'s {p} [came in|sat down close to {him}] with [a candle|a thick blanket|a {+cake}|a plate of <treat>]. "[What a noise|That is a big storm|Listen to that]!" <p_said>.
"[I do not like it|It is so loud|Make it stop], {P}," <H_sobbed>. "[The thunder is only|That is just|It is only] [clouds bumping their heads|the sky moving chairs|a
  giant with a drum|the sky's tummy]," <p_said>.
/ "[Is the sky falling|Will it come in|Is it angry], {P}?" <H_asked>. "No, [it is only|that is just] [clouds bumping their heads|the sky moving chairs|a giant with a drum|the
  sky's tummy]," <p_said>.
"Let us count," <p_said>. "After the flash, we count until the [boom|thunder]." {H} [counted to three|got to four|only got to two]. The next time it was [seven|eight|six|nine].
/ "Let us be louder," <p_said>. {P} [hit|beat] a [pot|pan] with a [spoon|ladle], and {H} [sang|shouted|played the {thing}] as [loudly|wildly] as {he} could.
/ "Then let us build a [cave|fort|ship|castle]," <p_said>. With [chairs|blankets|pillows] and [a tablecloth|a rope|cushions] {H} made [one|it], and the {thing} [kept watch|was the captain].
? "[Again|More]!" <H_cheered>. [Now the thunder was part of the game|The storm was part of the fun now].

<Soon> the thunder was [far away|only a mumble|as quiet as a cat]. {H} [looked out|opened the window] and saw a [rainbow|bright star|clean, wet world|snail on the glass].
/ <Soon> the rain [stopped|grew thin|ran off]. The garden [dripped|smelled of earth|shone], and {H} [jumped in a puddle|took a deep breath|showed it to the {thing}].
"[Is it over|Is that all|Already]?" <H_asked>. "[I was just starting to like it|Can we have another storm tomorrow|It can come again]."
/ "[Good night|Goodbye|Come again], thunder," <H_said>, and {he} [yawned|waved|laughed]. {P} [carried|took] {him} to bed, and the {thing} came too.
/ When the next storm came, {H} [got|fetched] {his} {thing} and called, "{P}, [come quickly|hurry up|it is starting]! [Our storm is back|The giant is drumming|We must count]!"

== newcomer: any; thing=toys; place=outdoors
<One_day>, {new F} [moved in|came to live] [next door|down the road|across the road], with [three|two|many] [boxes|bags|suitcases] and a {+thing}.
/ <meet> <One_day>, somebody new came to live [next door|close by|near the {place}]. It was {new F}.
/ <One_day>, {H+} [looked over the fence|heard a noise next door] and saw {new F} [with a {+thing}|sitting on a box|all alone].
"[Hello|Hi|Good morning], I am {H}!" <H_cried>. But {F} only [looked at {fhis} feet|hid behind a box|turned red|held {fhis} {thing} tight].
/ {H} [waved|smiled|called hello]. {F} [looked away|ran inside|hid behind the door], and the {thing} fell [down|on the ground|into the grass].

"{fhe^} does not like me," {H} told {his} {p}. "[Maybe {fhe} is shy|Give {fhim} time|New things can be scary]," <p_said>.
/ {H} [went|came] home and <whispered>, "{F} does not want to play." "[Wait a bit|Try again tomorrow|Think of something {fhe} may like]," <p_said>.
? <Feel_sad> It is not easy to make [a|a new] friend.
<Next_day>, {H} put [some <treat>|a bunch of <flower>|a drawing|a note] [at {F}'s door|on {F}'s steps|by the fence] and [hid|waited] behind [a tree|the hedge|the gate].
/ <Next_day>, {H} did not [call|shout|wave]. {He} sat down near {F} and [drew in the sand|built a tower|hummed a song|ate <treat>], [all by {himself}|very quietly].
The door opened [a little|slowly], and {F} came out with the {thing}. "[Is that for me|What is it|What are you doing]?" <F_asked>.
/ {F} [looked|watched] for [a while|a long time]. Then {fhe} [came closer|sat down, too]. "[Do you want|Would you like] to see my {thing}?" <F_asked>.

"[That is a fine|What a great|I love your] {thing}!" <H_cheered>. "[Let us take it to the {place}|Come and play {@place}|I can show you the {place}]."
/ {H} [looked at|touched] the {+thing}. "[It is beautiful|I always wanted one|I like it]," <H_said>. "Shall we [play|take it to the {place}]?"
{F} [smiled|nodded|whispered a yes], and [soon|before long] they were [running|playing|laughing] {@place}. {F} was not [shy|quiet] at all. {fhe^} [talked|sang] like a [parrot|waterfall|radio].
/ They played {@place} until [dark|supper|the sun went down]. {F} [knew|told] [ten|twenty|a hundred] jokes, and {H} [laughed at all of them|could not stop giggling].
"[I was afraid that nobody would like me|I thought I would be alone here|I missed my old home]," <F_said>. "[But now I have a friend|Not any more]."
/ "[Will you come back|Can you come|Shall we play] tomorrow?" <F_asked>. "[Every day|Of course|Yes, and the day after]," <H_said>, and gave {fhim} the {thing} back.
/ In the evening, {F} [hung|put] the {thing} in the window. {H} [waved|looked] across. [It was like a sign|That meant good night|It said hello, friend].

== neighbor: child; thing=finds; flower=beds
<meet> Next door lived old {O}, who [walked with a stick|had a garden full of <flower>|had a hundred clocks|always wore a straw hat].
/ {H^} lived next door to old {O}. {ohe^} was [slow|quiet|a little deaf] and had a [cat|parrot|goldfish] named Captain.
/ Every [morning|day] {H} [waved|said hello] to old {O}, and every [morning|day] {O} waved back from [the porch|the window|{ohis} garden].

But <one_day>, {O} [was not there|did not wave|was not in {ohis} garden]. {H} [knocked|rang the bell] and found {ohim} [in bed with a cough|with a hurt foot|with a sore back].
/ <One_day>, {H} saw {O} [bend down with a groan|drop {ohis} bags|sit on the steps with a sore foot]. [Apples|Onions|Potatoes|Oranges] [rolled|lay] everywhere.
"[My back is bad today|I am too old for this|My legs will not carry me], {H}," <O_said>. "[Who will water my {flower}?|Who will weed my {flower}?|The weeds will eat my {flower}!]"
/ "[Oh my poor garden|My poor {flower}]," <O_said>. "[It has not rained for a week|The weeds are higher than my hat|They are so thirsty], and I cannot [bend|walk|get up]."
"[I can do it|Let me help|I have strong arms], {O}," <H_said>. {O} [looked at {him}|smiled]. "[It is hard work.|You are very small.|Do you know how?]"
/ {H} [thought|did not think long]. "[I will do it|Tell me what to do|Leave it to me]," {he} said, and [rolled up {his} sleeves|put on a big hat|got a can].

So {H} [watered|weeded|tended] the {flower} [every day|for a week|after school], until {his} {hands} were [brown|black|sore] and {his} nose was [red|sunburned].
/ All week long, {H} [pulled weeds|carried water|swept the path], [fed the cat|brought in the mail], and [talked to|sang to] the {flower}.
? It was not easy. A [snail|worm|bee|hen] [got in {his} boot|sat on {his} hat], and [{he} fell in the mud|{he} lost a shoe|it rained] [once|twice].
? "[Why do you do that?|Come and play!]" called {F+}. "[First the garden|Come and help me]," <H_said>.
On [Sunday|Friday|Saturday], {O} came out [with {ohis} stick|in {ohis} slippers] and [looked|stood still]. The garden was [green and neat|full of color|better than before].
/ When {O} could walk again, {ohe} came out and [put on {ohis} glasses|rubbed {ohis} eyes]. "[Is this my garden|Who has been here, a fairy|Am I dreaming]?" <O_asked>.

"[You have a green thumb|You are a true gardener|You did all this]," <O_said>, and {ohe} [took|pulled] a {+thing} out of {ohis} [pocket|drawer|hat]. "This is for you."
/ {O} gave {H} a {+thing}. "[I found it|I got it] when I was [a child|as small as you|seven years old]," {ohe} said. "[It brings luck|Now it is yours|Take good care of it]."
{H} [kept|put] the {thing} [under {his} pillow|on the windowsill|in {his} pocket], and [every day|after school] {he} went to [sit with|visit|have tea with] {O}.
/ {H} [held|turned] the {thing} in {his} {hand}. "[Will you tell me the story of it|Tell me how you found it], {O}?" [{he} asked|{he} said]. And {O} [did|told it twice].
/ From then on, {H} and {O} [worked side by side|were the best of friends], and the {thing} hung [over {H}'s bed|by the window] and [shone|swung] in the sun.

== seed: any; plant=plants; elder=elders; bug=bugs
<One_day>, {new H} found a seed [in {his} pocket|on the path|under a stone|in a crack]. It was [brown and flat|as small as a crumb|round and hard].
/ <meet> <One_day>, {his} {e} gave {him} [one|a single|a small] seed. "[Plant it|Put it in the ground] and [see|wait]," {ehe} said.
/ {H^} wanted to grow [something|something big|a {plant}]. So {his} {e} [gave|sent] {him} a seed in a [paper bag|little box|letter].
{H} dug a hole [with a spoon|with both {hands}|behind the {home}], put the seed in, and [covered it|patted the earth]. Then {he} sat down to wait.
/ {He} [dug a hole|made a small hole] by the [fence|wall|door|gate]. "[Sleep well|Good luck|Grow fast], seed," <H_said>, and gave it [some water|a drink].

The next day, [nothing|not a thing] had [happened|changed]. {H} [sang to it|told it a story|danced around it|shouted at it]. Still [nothing|not one leaf].
/ {H} [looked|came back] after [ten minutes|one hour|supper]. [Nothing|Not one leaf]. "[Hurry up|Wake up|What are you waiting for]!" <H_cried>.
? "[Is it broken|Is it asleep|Did I do it wrong]?" {he} asked a {+bug}. The {bug} did not know.
On the [third|fourth] day, {H} wanted to dig it up. "[Stop|Wait]," said the {+elder}. "[A seed cannot be hurried|You must not wake it|Good things take time]."
/ "I will pull it out and look," <H_said>. But the {+elder} shook {ehis} head. "[A seed works in the dark|It needs time, not eyes|It needs sun, water and quiet]."
"How long does it take?" <H_asked>. "[As long as it takes|Until it is done|Twenty sleeps]," said the {elder}, [yawning|and winked|and smiled].
/ "[But waiting is so hard|I am not good at waiting]," <H_sobbed>. "[Then do not wait|Then do something else]," said the {elder}. "Water it and [go play|live your life]."

So {H} [watered it|gave it water] every [morning|evening] and [played with|went swimming with|built a boat with] {F+}. [Days|Weeks] went by.
/ [A week passed|Two weeks passed|It rained and the sun shone]. {H} [learned to whistle|made a kite|read a book] with {F+} and [almost|nearly] forgot the seed.
Then, <one_day>, {F} called, "{H}, come [quickly|here|and look]!" A [thin|tiny|small] green [leaf|tip|shoot] [stood|was] in the [sun|earth].
/ <One_day>, there was a [crack in the earth|tiny green dot|small green hook]. {H} lay down on {his} tummy and [looked|stared|held {his} breath].
It grew [and grew|taller each day], and [by August|at last|one day] it was a {+plant}. {H} [measured it|hugged it|showed it to everybody].
/ [By the end of summer|In August|At last], a {+plant} [stood|grew] by the {home}, [as tall as {H}|the finest of all|and bees came to visit].
"[You see|Well]?" said the {elder}. "[I did nothing at all|I only waited]," <H_said>. "[That is the hardest part|Yes, that was it|And you did it well]."
/ In the {plant} {H} found [new seeds|ten seeds|a handful of seeds]. {He} gave one to {F} and one to the {elder}. "[Now you must wait|Be patient]," <H_said>.
/ {H} [saved|kept] one seed of the {plant} [in a matchbox|in a jar|for next year]. "[Sleep well|See you in spring]," {he} <whispered>. [Now {he} could wait|{He} was good at waiting now].

== lie: child; food=cakes; pet=house_pets
<One_day>, a {+food} stood [in the kitchen|on the table|by the open window]. It was for {H}'s {e}, [who was coming to visit|for {ehis} birthday].
/ <meet> <One_day>, {his} {p} baked a {+food} for {E}. "[Do not touch it|It must cool down|Hands off, please]," <p_said>, and went [out|into the garden].
/ {H^} was alone with a {+food}. {His} {p} had [baked|made] it for {E}, and it smelled of [butter|sugar|summer|vanilla].
{H} wanted just [one crumb|a tiny taste|to smell it]. Then {he} took [another|one more], and [another|then a big one], until [half the {food}|most of it|a whole side] was gone.
/ {H} [walked around|looked at|sniffed] the {food} [twice|three times]. First {he} ate [a crumb|a tiny bit], then [a bite|a slice], and then [half the {food}|nearly all of it] was gone.

"Who [ate|has eaten|nibbled at] the {food}?" <p_asked>. {H} [swallowed|turned red|looked at the ceiling]. "It was the {pet}," {he} [said|whispered|lied].
/ Then {P} came back. "What happened to the {food}, {H}?" <p_asked>. "The {+pet} [did it|ate it|jumped on the table]," [said {H}|{H} said quickly|{H} lied].
So the {pet} had to [stay outside|sit in the corner|go without supper]. It looked at {H} with [big|sad|round] eyes and [sighed|did not understand|hung its head].
/ "[Bad|Oh, you bad] {pet}!" said {P}, and put it [out in the rain|out in the cold|behind the door]. {H} could hear it [cry|scratch|sigh] [all evening|for an hour].
{H} sat in {his} room. The {food} lay in {his} tummy like a [stone|brick|rock|cannonball]. <Feel_sad>
/ At supper {H} could not eat [a bite|a thing]. "Are you [sick|all right]?" <p_asked>. {H} only [shook|hung] {his} head and thought of the {pet}.
? "[Tell {phim}|Go and say it|It will not get better]," <F_said>, who had come [to play|to visit].

At last {H} [ran|went] to {his} {p}. "It was not the {pet}," <H_sobbed>. "[I ate the {food}|It was me]. I told a lie, and I am sorry."
/ Then {H} [stood up|could not stand it any more]. "{P}, I [lied|did not tell the truth]," <H_sobbed>. "[I ate the {food}|It was me], and the {pet} did nothing."
{P} was quiet <little_while>. "[Eating it was bad, but lying was worse|I am glad you told me|That was hard to say]," <p_said>. "[Now what shall we do|What can we do about it]?"
/ "[I wondered about the crumbs on your nose|I saw sugar on your chin]," <p_said>. "[Thank you for saying it|The {pet} cannot speak, but you can]."
{H} [carried|let] the {pet} [back in|inside] and [gave it|put down] [warm milk|{his} own supper|a soft pillow]. "[I am sorry|Please forgive me], {pet}," {he} <whispered>.
/ First {H} said sorry to the {pet} and [rubbed|scratched] its ears. It [licked {his} nose|curled up in {his} lap|licked {his} chin], [for it was not angry|and that was that|and all was well].
Then {H} and {P} baked a new {food} together. {H} [stirred|cracked the eggs|washed up], and {he} did not [lick the spoon|taste it] [even once|one single time].
/ When {E} came, {H} told {ehim} [everything|the whole story]. {E} laughed [and laughed|until {ehe} cried]. "[I did that once|Your {p} did that, too]," {ehe} said. "[The {food} was|Mine was] [delicious|very good]."
/ "[Half a {food} is still a {food}|I only wanted half anyway]," said {E} when {ehe} came. [They|All of them] ate the rest, and the {pet} got the [biggest|first] piece.

== party: any; gift=toys; cake=cakes; place=outdoors
<One_day>, {new H} [jumped|hopped|rolled] out of bed and [cheered|sang|smiled], for it was {his} birthday.
/ <Meet> <One_day>, {he} woke up [early|before everybody|with a smile], because it was {his} birthday.
/ {H^} had counted the days [for a month|on the wall|since <season>]. Now it was here at last: {his} birthday!
{He} {went} to {F+}. "[Do you know what day it is|Guess what day this is|Is today not special]?" <H_asked>. "[It is <weekday>|Soup day|Washing day]," <F_said>.
/ First {he} met {F+}. "[Do you have something to tell me|Is there any news|Do you have a song for me], {F}?" <H_asked>. "[No|Not that I know|Not today]," <F_said>.
/ On the road {he} met {F+}, who [was in a hurry|carried a big bag|hid something]. "[No time|I must go|I am busy today], {H}," <F_said>, and [ran off|was gone].
? {His} {p} only [swept the floor|read the paper|washed the dishes]. "[Fetch some water|Take out the trash|Go and play outside|Eat your toast], {H}," <p_said>.
? Then {H} saw {G+}. But {G} [crossed the road|hid behind a tree|looked away] and [whistled|hummed|walked faster].

So everybody had forgotten it. {H} sat down {@place} and [threw stones|pulled up grass|counted {his} toes]. <Feel_sad>
/ {H} {went} to the {place} and sat there [all alone|by {himself}|with {his} chin in {his} {hands}]. <Feel_sad>
/ Had they all forgotten {H}? There {he} [kicked a stone|sat down on a log|lay down in the grass] and [sighed|shut {his} eyes|tried to sing].
"[Happy birthday to me|Next year I will forget it, too|It is just a day]," {he} told a [beetle|snail|duck|cloud|sparrow]. It [said nothing|did not answer|went away].
/ {He} [drew|made] a cake in the [sand|mud] with <candles> and [blew them out|sang to it]. It was not much of a party for {H}.
? When [the sun went down|it got cold|{his} tummy growled|it got dark], {H} [went|walked|turned] [slowly|sadly] home.

At home [it was dark|all was quiet]. {H} opened the door, and [the lights went on|<candles> burned]. "Surprise!" <cried> [everybody|{F} and {G}].
/ [Then|At last] {F} came and [took {his} {hand}|called {him}]. "[Close your eyes|Come with me|Do not look], {H}," <F_said>. And [there|at {his} {home}] was a party!
"[We had to hide it from you|It was so hard not to tell|I nearly told you]," <F_said>, and gave {him} a {+gift} with a [blue|red|green] [bow|ribbon].
/ {F} gave {H} a {+gift}, and {his} {p} brought in a {+cake} with <candles>. "[Now make a wish|Blow them out]!" <cried> {G}.
/ There was a {+cake} and a {+gift} for {H}. "[You should have seen your face|We fooled you|We did not forget]!" <F_cheered>.
"[You did not forget|You knew it all the time|So that was your secret]!" <H_cheered>. {He} [hugged|kissed|danced with] {F}, [one arm around {G}|then {G}|and {his} {p}, too].
/ {H} [laughed and cried at once|could not say a word|turned red and then laughed]. Then {he} [cut|shared] the {+cake} and gave {F} the [first|best|biggest] piece.
They [danced|sang|played games] until {F} [fell asleep on a chair|lost a shoe|had cake on {fhis} ears]. And {H} [took the {gift} to bed|slept with the {gift}|hugged the {gift}].
/ <Night> {H} put the {gift} beside {his} pillow. "[Best birthday ever|What a day|Good friends, good cake]," {he} [said|yawned|whispered].
/ <Night> {H} could not sleep. The {gift} [lay on the bed|sat on the chair], {his} tummy was full of {cake}, and {he} was <happy>.

== trapped: child; pet=wild; where=traps; place=outdoors
<Meet> <One_day>, {he} was walking {@place} when {he} heard a [cry|whimper|faint squeak|rustle].
/ <One_day>, {new H} was [picking berries|playing|looking for stones] {@place}. [Suddenly|All at once] there was a [cry|whimper|squeak].
/ <One_day>, {H^} and {F+} [were playing|went for a walk] {@place}. "[Hush|Stop]! Did you hear that [cry|noise|squeak]?" <H_asked>.
It came from close by. A {+pet} [was stuck|was caught|was trapped] {where}. It [kicked|pulled|wriggled], but it could not get [free|out|away].
/ {H} [looked around|followed the sound]. There, {where}, was a {+pet}. It [trembled|shook] all over and [could not move|had hurt its leg].
{H} took [one step|a step] closer. The {pet} [showed its teeth|hissed|kicked wildly]. It [did not know|could not tell] that {H} [wanted to help|was a friend].
/ "[Poor thing|Oh, you poor {pet}]," <H_said>. But when {he} [came closer|put out a hand], the {pet} [hissed|squealed|kicked] and [pulled harder|hurt itself more].
? {H} wanted to [pull it out|grab it] at once. But {his} {e} had told {him}: [be slow with wild things|a scared animal needs time|first be calm].

So {H} sat down in the [grass|leaves|dirt] and [sang|hummed|talked] softly. {He} told the {pet} about [school|{his} {e}|{food}|the moon], [and it listened|on and on].
/ {H} sat still like a [stone|tree] and [waited|hummed a song|looked away]. [A cloud|The sun] moved on. <Soon> the {pet} [stopped kicking|grew calm|stopped shaking].
/ {H} put down [a piece of apple|a bit of bread|half of {his} lunch] and [waited|sat very still]. <Soon> the {pet} [sniffed|ate a bite|stopped shaking].
Then {he} [bent|pushed|lifted] [slowly|carefully] with all {his} [strength|might]. [A twig|A thorn] scratched {his} [arm|hand|cheek], but {H} [held on|did not stop|did not cry].
/ "[Do not be afraid|Hold still|Nearly done]," {he} whispered, and [with both hands|inch by inch|with a stick] {H} made [room|a gap]. It [took|needed] [a long time|ten tries].
[Snap|Crack|Pop]! The {pet} was free. It [jumped out|rolled out|shook itself] and [ran|limped] [three|four|five] steps. Then it [stopped|turned] and looked at {H}.
/ All at once the {pet} [slipped out|was free]. It did not run [away|off]. It [sniffed {his} shoe|licked {his} thumb|looked at {H}] [for a moment|with bright eyes].

"[Go on|Run home|Off you go]," <H_said>. "[Your mother is waiting|Mind the thorns|Be careful next time]." And the {pet} was gone [in the leaves|like the wind].
/ "[You are welcome|Goodbye, {pet}|Good luck]," <H_said>. The {pet} [twitched an ear|blinked] and [disappeared|vanished] [among the trees|in the grass].
"Where were you so long?" asked {his} {p} at home. "[I made a friend|I was waiting for a {pet}|Somebody needed me]," <H_said>, [with leaves in {his} hair|and showed the scratch].
/ {H} ran home and told {his} {p} [everything|all about it]. "[You used your head and your heart|That was well done|You were calm and brave]," <p_said>.
All that [autumn|summer|year], {H} [looked|watched] for the {pet}. And once, [at sunset|in the mist|early in the morning], it [sat by the gate|stood on the path] and looked back.
/ Some days later, there was a [nut|pine cone|bright feather|berry] on {H}'s [step|windowsill]. Nobody knew who put it there, but {H} [thought of the {pet}|had an idea].
/ <Night> {H} thought of the {pet}, [asleep|safe] in its [nest|warm bed|home]. "[Sleep well|Good night]," {he} [whispered|said] to the dark [window|trees].

== swim: child puppy fox bear hedgehog; toy=floats; bug=bugs
<Meet> {He} could [run|climb|jump|whistle], but {he} could not swim.
/ {H^} [loved|liked] everything about the lake, [the reeds|the ducks|the stones] and [the boats|the sand|the frogs]. But {he} could not swim.
/ All of {H}'s friends could swim. Only {H} [sat|stayed|stood] on the [shore|sand|dock] and [watched|minded the towels].
<One_day>, {F+} called, "[Come in|Jump in], {H}! The water is [warm|lovely|like soup]!" But {H} [shook {his} head|only got {his} toes wet|pretended not to hear].
/ <One_day>, {F+} [swam|splashed] by. "[Why do you never come in|Are you coming]?" <F_asked>. "[I have a cold|I just ate|I must watch my {toy}]," <H_said>.
<Feel_sad> {His} {e}, [who was fishing|who sat in a boat|who saw it all], [came over|sat down beside {him}]. "[You are afraid|Is it the deep water], {H}?" <e_asked>.
/ "Can you keep a secret, {E}?" <H_asked>. "I [want to swim|wish I could swim], but the water is [so deep|so dark|bigger than me]."

"[I was afraid, too|So was I, once|Everybody starts dry]," <e_said>. "[We will go slowly|One step at a time|First we only get wet]." And {ehe} brought a {+toy}.
/ "[Fish learn it in one day|Ducks do it before breakfast]," <e_said>. "[You may take a week|We have all summer]. [Take this|Start with this]." It was a {+toy}.
On the first day, {H} [blew bubbles|washed {his} face in the lake|stood in up to {his} knees]. On the second, {he} [put {his} ears under|floated for a moment|held the {toy} and kicked].
/ First {H} learned to [float like a leaf|blow bubbles like a frog]. Then {he} learned to [kick like a frog|lie still on {his} back], holding on to the {toy}.
[Once|One time] {he} [swallowed some water|lost the {toy}|went under] and [coughed|cried]. "[I will never learn it|It is no use|I am a stone]," <H_sobbed>. "[Tomorrow again|Rest a bit|You are nearly there]," <e_said>.
/ It was [hard|slow]. Water got in {his} [nose|ears], and {F} [swam circles around {him}|laughed, but kindly]. "[Again|Once more]," <e_said>, [and {H} tried|every time].
Then, <one_day>, a {+bug} fell into the water [not far off|near {H}] and [kicked its legs|could not get out]. {H} [forgot the {toy}|did not think]. {He} [kicked and kicked|just went].
/ <One_day>, the {toy} [floated off|slipped away|drifted out]. {H} [went after it|reached for it|kicked hard], [one stroke|one kick], then [another|two], then [ten|more].

"{H}, [look at you|you are swimming]!" <F_cheered>. It was true. {H} was [in the middle of the lake|far from the sand], and the water [carried|held] {him}.
/ {H} [looked down|stopped to look]. There was no [sand|ground] under {his} feet. {He} was swimming! "[I can do it|Look at me], {E}!" <H_cheered>.
{His} {e} [threw {ehis} hat in the air|danced in the boat|clapped]. "[I did not see you start|I knew it|A real fish]!" <e_said>.
/ {F} and {H} [raced|swam] to the [dock|big stone|boat] and back. {F} won, but {H} [did not care|laughed the loudest|was only a little behind].
After that, it was hard to get {H} out of the [lake|water]. And the {toy}? {He} gave it to [a small boy|a little mouse|a tiny girl] who [sat on the dock|stood on the sand] [with dry feet|and watched].
/ <Night> {H} [kicked|moved {his} arms] in {his} sleep. The {toy} hung on the wall. {He} [did not need it|would never need it] any more.
/ "[What shall I learn next|What comes next]?" <H_asked>, wrapped in a [towel|blanket]. "[To dive|To dry off|To row]," <e_said>, and hung the {toy} on a [nail|branch].

== proud: animal; elder=elders; thing=wears; place=outdoors
<Meet> <One_day>, {he} [got|found|was given] a {+thing}. {H} looked at {himself} in the [pond|puddle|stream] and [liked what {he} saw|smiled].
/ {H^} had a {+thing}. It was the [finest|prettiest] {thing} [in the forest|for miles around], and {he} [told everybody so|never took it off].
/ <Meet> There was nobody as proud as {H}, because {he} had a {+thing} [from the city|with golden buttons|with silver thread].
"[Do not come too close|Do not touch it|Stay away with your muddy paws]," {he} told {F+}. "[My {thing} is new|This {thing} is not for playing]."
/ "[Shall we play|Will you come and dig]?" asked {F+}. "[In this {thing}|With my {thing}]? Never!" <H_said>. {F} [went alone|was sad].
/ When {F+} wanted to [climb|dig|play tag], {H} said no. "[I might tear my {thing}|My {thing} could get dirty|Look at my {thing}, not at me]," {he} said.
? "[A {thing} cannot play|A {thing} keeps you warm, but a friend does it better|Pride is cold company]," said the {+elder}. {H} did not [listen|hear it].

<One_day>, {H} walked [along|past] the {place} with {his} nose [high|in the air]. So {he} did not see the [hole|ditch|mud|root] [in front of {him}|on the path]. [Splash|Plop|Bump]!
/ <One_day>, the animals [came together|had a party] {@place}. {H} [climbed on a stone|stood on a log], so that all could see the {thing}. But the [stone|log] [rolled|was wet]. [Splash|Plop]!
{H} sat in the [mud|dirt] up to {his} [neck|chin|ears]. The {thing} was [brown|black|full of mud], and one [sleeve|corner|end] was [torn|gone]. <Feel_sad>
/ There lay {H}, [stuck in the mud|upside down|with mud in both ears]. The {+thing} [hung on a branch|was torn in two|looked like an old rag]. <Feel_sad>
"[Now they will laugh|Nobody will help me|I was so mean to them]," thought {H}. And [yes|indeed], [somebody|a magpie|a frog] [laughed|giggled].
/ "[Help|Can somebody help me]," called {H} [in a small voice|very softly]. {He} did not think that [anybody would|{F} would] come.

But {F} came [running|at once] with a [rope|long stick|branch]. "[Hold on tight|Take this|Grab it], {H}!" <F_cried>. {fhe^} [pulled|puffed] until {H} was out.
/ But {F} [jumped|waded] right into the mud and [pushed|pulled] {H} [out|to dry land]. Now {fhe} was [brown|muddy] all over, too.
"Why did you help me, {F}? I [was so proud|was not nice to you|thought of nothing but my {thing}]," <H_sobbed>. "[You are my friend|I like you, not the {thing}|I missed you]," <F_said>.
/ "I am sorry, {F}. [A {thing} is only a {thing}|I was a fool|I forgot how to be a friend]," <H_sobbed>. "[Never mind|You look better in mud|It is all right]," <F_said>.
{H} looked at {F}, and {F} looked at {H}. [Mud dripped from their noses|They were both brown from nose to tail]. Then they [laughed|began to laugh] [until they cried|so loudly that the birds flew up].
/ "[Do you want to play|Shall we dig now|How about tag]?" <H_asked>. "[In that {thing}|And your {thing}]?" <F_asked>. "[It cannot get any dirtier|Yes, right now]!" <H_said>.
<Next_day>, {H} washed the {thing} and [cut|tore] it in [two|half]. One [half|piece] was for {F}. [It kept both of them warm|They both looked very fine].
/ In winter, {H} and {F} [took turns|shared the {thing}]. It had [five|three|many] patches now, and {H} liked it [better than before|more with every patch].
/ After that, the {thing} [hung on a nail|was for Sundays], and {H} [went out without it|dug, climbed and rolled] with {F} every day.

== noise: any; pet=night_animals; where=outside_spots; light=lights
<One_day>, {new H} [went to bed early|could not sleep|lay in bed]. Then there was a noise: [scratch, scratch|tap, tap, tap|squeak, squeak|thump, thump]!
/ <Meet> <One_night>, there was a noise outside {his} window. [Scratch, scratch|Tap, tap, tap|Squeak, squeak|Thump, thump]!
/ For three nights {H+} heard [it|a strange noise]. [Scratch, scratch|Tap, tap, tap|Squeak, squeak|Rustle, rustle]! It came from {where}.
"[Is somebody there|Who is it|Hello]?" <H_asked>. [It stopped|It was quiet]. Then it [began|started] again, [louder|closer|faster] than before. <Feel_scared>
/ {H} [held {his} breath|sat up]. Was it a [thief|ghost|dragon|witch]? Or [a wolf with an itch|a giant's tummy|a pirate]? <Feel_scared>
In the morning {he} told {F+} [about it|of the noise]. "[We must find out|A mystery|I love mysteries]!" <F_cheered>. "[Tonight we keep watch|I will stay with you tonight]."
/ "I heard it, too," said {F+}, [who had come to stay|who slept on the floor]. "[Let us look|We have to find out|I dare you to look]," <F_said>, but {fhe} [did not move|stayed where {fhe} was].

So [that night|when it was dark], {H} took a {+light}, {F} took a [broom|pot lid|spoon], and they [crept|tiptoed] [outside|down the steps|through the door].
/ {H} lit a {+light}. [Hand in hand|Side by side|Back to back] {he} and {F} [crept|tiptoed] [out|over the wet grass|across the yard]. [An owl hooted|A twig cracked|The gate creaked].
"You go first, {H}," <F_said>. "No, you," <H_said>. So they [went together|walked side by side|counted to three], with [knees like jelly|big eyes|cold feet].
/ {F} [stepped on|pulled at] {H}'s [foot|sleeve]. "[Ouch|Shh]!" [hissed|whispered] {H}. The noise came from {where}. [It stopped|Something moved].
/ "[If it is a ghost, I will say hello|If it bites, run|Whatever it is, be polite]," <H_said>. The noise was {where} now, [very close|quite near].
{H} held up the {light}. And there, {where}, sat a {+pet}. It [had a pot on its head|was stuck in a jar|had its nose in an empty can|was eating the cat's supper]!
/ The {light} [shook|trembled] in {H}'s {hand}. Two [eyes|round eyes] [shone|blinked]. It was a {+pet}, [stuck in a flowerpot|with a tin can on its foot|caught in a net]!

"[That is our ghost|So you are the monster|Good evening, pirate]!" <H_said>, and {F} [laughed|giggled] until {fhe} [fell over|had to sit down|dropped the spoon].
/ {F} [put down {fhis} arms|laughed out loud]. "[And we were afraid of that|What a terrible monster|It is more scared than we are]!" <F_said>.
{H} [helped|freed] the {pet} [carefully|gently] and gave it [a bit of pear|some bread|a dish of water|some nuts]. It ate with a [loud smack|happy grunt].
/ [Carefully|Softly] {H} set the {pet} free. It [sneezed|snorted|stretched], looked at the {light}, and [walked off|trotted away] [without a word|into the dark].
The next night, [it came again|the noise was back]: [scratch, scratch|tap, tap|rustle, rustle]! "[Good night, {pet}|That is only our {pet}]," <H_said>, and slept [very well|like a stone].
/ From then on, {H} put out [a dish|a small plate] of [nuts|apples|crumbs] every night. {He} liked the noise now. It [meant|said] that the {pet} was [there|well|eating].
/ "[Shall we tell the others|What shall we tell them]?" <F_asked>. "[Yes, but it was a dragon|Of course, a very big dragon]," <H_said>, and blew out the {light}. The {pet} [did not mind|never told].

== baking: any; cake=cakes; wrong=wrong_things; eater=birds
<One_day>, {H^} and {F+} wanted to bake a {+cake} for {H}'s {e}. "[I know how|I have seen it done|How hard can it be]," <H_said>.
/ <Meet> <One_day>, {he} [asked|invited] {F+} to bake a {+cake}. "[We do not need a book|I know it by heart|It will be easy]," <H_said>.
/ {H^} had a plan for {his} {e}'s birthday. {He} wanted to bake a {+cake}. {F^} [came to help|held the spoon|put on an apron].
{F} [cracked|dropped] [four|five|six] eggs into the bowl, and {H} [stirred|mixed|beat] until [flour was everywhere|their noses were white|the cat was white].
/ They put [flour|butter|milk|eggs] on the table, in the bowl and [on the floor|on the ceiling|in their hair]. {F} [sang|hummed|counted], and {H} stirred.
"Now the sugar," <F_said>. {H} took the [blue|big|white|left] jar and [poured in|added] [three cups|all of it|a lot]. [But it was not sugar|It was {wrong}|Nobody tasted it].
/ "How much sugar?" <F_asked>. "[A lot|All of it|Three cups]," <H_said>, and [reached for|took|opened] the [wrong|other] jar. There was {wrong} in it.

The {cake} looked [fine|perfect|a bit strange]. {F} [took|tried] the first bite and [turned red|turned green|ran to the sink]. "[Water|Help|Salt and fire]!" {fhe} [gasped|croaked].
/ "[You first|Try it|Have a bite], {F}," <H_said>. {F} [chewed|stopped chewing]. {F}'s eyes [watered|grew big]. "[Interesting|It is different|It tastes like the sea]," {fhe} said.
/ {H} tried a [crumb|piece|corner] of the {cake}, [coughed|choked] and [ran in a circle|drank a whole jug of water|stuck out {his} tongue]. "[What is in this|Who made this]?" <H_cried>.
"<Oh_no>! I put {wrong} in the {cake}," <H_sobbed>. "[And {E} comes in an hour|What will {E} say|Now it is all spoiled]!"
/ {H} [looked into|sniffed] the jar. "[It was not sugar|I did not read it]! This is {wrong}," <H_sobbed>. <Feel_sad>
? "[Look, even the {eater} does not want it|The {eater} took a crumb and spat it out]," <F_said>. That made them [both laugh|giggle a bit].

"[We can start again|Let us make a new one|We still have flour]," <F_said>. "[This time we taste everything|And we will read the jars|You taste, I pour]."
/ "There is [one egg|a little flour|some butter] left," <F_said>. "[Not enough for a {cake}|No {cake}, then], but enough for [pancakes|a few cookies|one small waffle]."
So they [started|began] again. {F} [read|sniffed] every jar, and {H} [tasted|tried] [the sugar|each spoon] first. [It took till evening|It was slow], but it was [fun|safe].
/ This time, {H} [tasted|sniffed] everything twice. They [baked|worked] and [sang|laughed], and [a sweet smell|the smell of butter] filled the {home}.
When {E} came, {ehe} [ate every crumb|had three helpings|licked the plate]. "[What happened to your hair|And what is that]?" {ehe} asked, and pointed at the [first|salty|other] {cake}.
/ "[Best I ever had|Delicious|Oh, how good]," <e_said>. {H} told {ehim} about the first {cake}, and {E} laughed so hard that {ehis} [glasses|teeth|hat] fell [off|into the cream].
"[That one is for the giants|It keeps the ants away|It is a door stop now]," <H_said>. From that day on, {wrong} stood in a jar with a [red|big|yellow] [label|ribbon|cross].
/ They put the first {cake} [on the fence|in the garden]. [Not even the {eater} ate it|It stood there all winter], and {H} [always read the jar first|never baked without {F}].
/ "[Next week we make soup|What shall we cook tomorrow]?" <H_asked>. "[Only if I hold the jars|I will bring water]," <F_said>, and they [washed|wiped] the [bowl|floor|ceiling].

== kite: any; kite=flying; tree=trees; place=outdoors; bird=birds
<One_day>, the wind was just right, and {new H} took {his} {+kite} to the {place}.
/ <Meet> {He} had [made|built|got] a {+kite} with a long tail of [ribbons|rags|paper bows], and {he} [waited|wished] for wind. <One_day>, it came.
/ <One_day>, {H^} ran to the {place} with {his} {+kite}. "[Fly|Up you go|Higher], {kite}!" <H_cheered>.
Up it went, over the [roofs|bushes|hedge]. It [danced|swung|dived] like a [fish|bird|swallow]. Then [came a gust|the wind turned], and the {kite} [flew into|got stuck in] a tall {tree}.
/ The {kite} climbed [higher and higher|until it was a dot]. But the [string|line] [broke|slipped from {his} {hand}], and the {kite} [landed|hung] at the very top of a {tree}.
{H} [pulled the string|shook the trunk|jumped as high as {he} could|threw a stick]. The {kite} did not [move|come down]. <Feel_sad>
/ "[Come down|Let go of it|Give it back], please," <H_said> to the {tree}. The {tree} [only rustled|said nothing|shook its leaves]. <Feel_sad>

Then {F+} came by. "[I will climb up|I can get it|Let me try]," <F_said>. {fhe^} [got as far as the first branch|slid down again|tore {fhis} pants] and [could get no higher|gave up].
/ {F^} had [a ladder|a long pole|a chair]. "[This will do it|Here comes help]," <F_said>. But the [tree was taller|{kite} was too high|end was too short].
Next came {G+} with [a fishing rod|a broom|a rake|a boot on a rope]. {G} [swung it|threw it], but now that was stuck [in the {tree}|up there], too.
/ {G^} wanted to help, too. {ghe^} [threw a shoe|blew with all {ghis} might|shouted at the {tree}]. Now there was a [shoe|hat|stick] next to the {kite}.
"[Stop|Wait], before the whole [village|house] hangs in there," <H_said>. {He} [looked up|sat down] and thought. "[None of us can do it alone|What if we put it all together|We need to be taller]."
/ "[We are three|Three is a lot], and each of us was just [a bit|a little] too [short|small]," <H_said>. "[So let us be one tall one|What if we stand on each other]?"
{F} stood [at the bottom|on the grass], {G} [climbed on {F}'s shoulders|stood on {F}], and {H} [on top of {G}|climbed up last]. They [wobbled|swayed] like a [tower|jelly|tall cake].
/ {G} climbed on {F}, and {H} climbed on {G}. "[Do not sneeze|Do not laugh|Hold still]!" <F_cried> from below. {H} [stretched|reached], and [stretched some more|just a bit further].

[Got it|There]! {H} [held|had] the {kite}. Then {F} [sneezed|laughed], and [all three|the tower] fell [into the soft grass|in a heap|on a pile of leaves].
/ With the tip of one {hand}, {H} [touched|got] the tail and pulled. Down came the {kite}, [the shoe|a hat], and [all three of them|then everybody], [laughing|in a heap].
? A {+bird} had sat in the {kite}. "[Pardon me|I was just leaving|Nice tower]," it [chirped|said], and flew off.
The {+kite} had a [small hole|tear|crooked nose] now. {H} [patched|mended] it with [{F}'s handkerchief|a leaf|a piece of {G}'s scarf], and it flew [better than ever|a bit crooked].
/ Then they let the {+kite} fly again. {F} held the string, then {G}, then {H}, [and the wind held the rest|far from any {tree}].
"[Whose {kite} is it now|To whom does it belong now]?" <F_asked>. {H} [thought|looked up]. "[A third each|It is ours|It belongs to the tower]," {he} said.
/ <Night> {H} [drew|painted] a picture of the {kite}, and under it [a tower of three friends|{himself} with {F} and {G}]. [It hung over the bed|It was a very tall picture].

== snowman: any; wear=wears; food=noses; bird=birds; robber=robbers
<One_snow>, {new H} looked out, and [the whole world|everything] was white. It had snowed all night.
/ <Meet> {He} had waited for snow [all winter|for weeks]. <One_snow>, it [came at last|lay on every roof].
/ <One_snow>, {H^} and the snow were up [before everybody else|first]. It was [deep|soft] and [sparkled|crunched] under {his} feet.
{He} called {F+}, and they [rolled|pushed] three big balls. The third went on top. "[He needs a nose|What about a nose]," <F_said>. {H} [had|got|brought] a {+food}.
/ With {F+} {he} built a snowman as tall as [a door|a bear|the fence]. He had [two stones|two buttons|walnuts] for eyes and a {+food} for a nose.
"[He looks cold|He is shivering, I think|Is he not cold]?" <F_asked>. So {H} took off {his} {+wear} and gave it to the snowman. [It fitted well|Now he looked grand].
/ {H} [tied|put] {his} own {+wear} on the snowman. "[He needs it more|He has to stay out all night|Now he is one of us]," <H_said>.

<Night> it was [very cold|windy|icy]. {H} [lay|sat] in {his} warm bed and [thought of|looked out at] the snowman, [all alone|who had nobody]. <Feel_sad>
/ In the evening {H} [said good night to|waved to] the snowman. "[Is he not lonely|Will he be afraid at night]?" {he} asked {his} {p}. "[He has your {wear}|He has the stars]," <p_said>.
<Next_day>, the {food} was gone! There was a [hole|dent] in the snowman's face, and there were [tiny tracks|small footprints] in the snow.
/ <Next_day>, {F} came running. "{H}! [Somebody stole his nose|The {food} is gone|He has no nose]!" [It was true|Only a hole was left].
"[Who does such a thing|A thief]!" <H_cried>. They [followed|went after] the tracks, [around the shed|past the well|over the field], to a [hollow tree|hole in the wall|woodpile].
/ {H} and {F} [followed|read] the tracks like [hunters|a book]. They went [under the hedge|along the wall|behind the barn] and ended at a [hollow tree|heap of straw].
There sat a {+robber} with [three|four|five] [hungry|tiny] babies. They were [eating|sharing] the {food}. [It was the only food for miles|The snow had covered all the rest].
/ Inside was a {robber}, [thin and shaking|as thin as a stick]. It had eaten half the {food} and [looked|stared] at them with [big|frightened] eyes.
{H} was not [cross|angry] any more. "[You can have the nose|Enjoy it|Keep it]," <H_said>. "[We have more at home|He can smell with something else]."
/ "[We should not scold them|They were just hungry|It was not mean]," <F_said>. {H} [nodded|thought so, too] and ran home for [nuts and apples|bread and seeds|more {food}].

So the snowman got a [pine cone|stick|red mitten] for a nose, and [every morning|each day] {H} and {F} put [food|something to eat] [at his feet|by his side].
/ From then on, the snowman [held|carried] a [plate|basket] of [seeds|nuts and bread] in his arms. [All the birds came|Even a {+bird} came], and he was never [lonely|alone] again.
When [the sun|spring] came, the snowman [grew smaller|melted away], bit by bit. In the end only the {+wear} lay in the [grass|mud], [and the first flower beside it|still warm from the sun].
/ In <spring> the snowman melted. {H} hung up the {+wear}. It smelled of snow. "[See you next year|Until next winter|Thank you], snowman," <H_said>.

== strayed: child; wear=wears; sold=stalls
<One_day>, {H^} and {his} {p} went to the [market|fair]. "[Hold my hand|Stay close to me|Do not run off]," <p_said>. {P} wore a {+wear}.
/ <Meet> <One_day>, {his} {p} took {him} to the [big market|fair]. {P} wore a {+wear}, so that {H} could [always see|easily find] {phim}.
/ It was the day of the [big|great|summer] [market|fair], and {new H} went with {his} {p}, who wore a {+wear}.
There was [a cheese as big as a wheel|a man on stilts|a dancing goat|a monkey in a vest], there were [singing parrots|mountains of plums|hats with feathers], and {H} [forgot everything|stood still and laughed].
/ {H} stopped to look at [a juggler|a cage of parrots|some puppets|a sugar castle|a dancing dog]. It was [only for a moment|so beautiful|so funny]. {He} [forgot everything|laughed and clapped].
When {he} turned around, {his} {p} was gone. {H} ran after a {+wear}, but it was [a stranger|an old man|the wrong one]. <Feel_scared>
/ Then {H} looked for the {+wear}. [It was nowhere|There were only legs and bags|It was not there]. "{P}?" {he} called. "{P}!" <Feel_scared>

"[Are you lost|What is the matter|Why do you cry], [dear|my dear|little one]?" somebody asked. It was {O}, who sold {sold}. {H} [nodded|wiped {his} eyes|could not speak].
/ {H} did not run [around|off]. {He} remembered what {P} had said: [stay where you are|ask for help at a stall]. So {he} went to {O}, who sold {sold}.
"[I lost my|I cannot find my|I am looking for my] {p}," <H_sobbed>. "{phe^} wears a {+wear}." "[Then we will find {phim}|That is a good clue|I will help you]," <O_said>.
/ "My {p} is lost," <H_sobbed>. "{phe^} has a {+wear}." "[Lost grown-ups are always found|Poor {p}, all alone|We will wait here]," <O_said>.
? {O} lifted {H} up on a [barrel|box|table]. {H} saw [green|red|black|tall] hats, [two dogs|a balloon|a flag] and [a horse|three sailors|a tuba], but no {wear}.
? {O} gave {H} a [bell|pot and a spoon|drum|trumpet]. "[Make noise|Play]!" {H} [rang|played|banged] away until all the [people|dogs] turned around.

Then {he} saw the {+wear}, [far off|by the fountain|near the gate], and it came [closer and closer|running]. "{H}!" "{P}!" They [held each other tight|hugged|both cried and laughed].
/ "{H}!" [called|cried] a voice that {he} knew. There came the {+wear}, [crooked|flying], and in it was {his} {p}, [pale|red] and out of breath.
"[I looked everywhere|I was so afraid|There you are], {H}," <p_said>. "[I was here all the time, but you were lost|I waited in one place|{O} helped me find you]," <H_said>.
/ "[You stood still and asked for help|You did just right|How clever of you to wait]," <p_said>, and {phe} bought [all|a big bag of|some of] the {sold}.
/ "[Thank you for finding my {p}|Thank you for your help], {O}," <H_said>. "[Any time|You did it yourself|Come again]," <O_said>, and gave {him} some {sold}.
On the way home, {H} held on to the {+wear} [all the way|with both hands]. "[So that you do not get lost again|I will take care of you], {P}," <H_said>.
/ <Night> {H} [told|said to] {his} {p}, "[Next time, I will wear a {wear}, too|Next time you must not run off]." {P} [laughed|promised] and kissed {him}.

== moon: animal; elder=elders; tool=catchers; place=waters
One clear night, {new H} looked out and saw the moon. It was [round and white|as round as a cheese|fat and golden]. "[I want it|I must have it|That would look good in my {home}]," <H_said>.
/ <Meet> {He} loved the moon, and one [clear|warm|quiet] night {he} made a plan. "[I will bring it home|I will catch it|Tonight I will get it]," <H_said>.
/ {H^} could not sleep because the moon was so [bright|beautiful|round]. "[I will take it home|Somebody should pick it|It is just what I need]," <H_said>.
{He} took a {+tool} and {went} to the top of the hill. {H} [jumped|reached] and [jumped again|stood on {his} toes], but the moon was [still too high|too far away|not one bit closer].
/ With a {+tool} in one paw, {H} climbed the tallest [tree|rock|roof]. {He} [swung|waved|threw] the {tool}, but the moon [did not come|only climbed higher|stayed up there].
Then {H} came to the {place}, and there was the moon, [right in the water|floating in the water|so close]! {He} [dipped in|swung|threw out] the {tool}, but the moon broke into [pieces|a hundred pieces].
/ On the way home {H} passed the {place}. There it was, the moon, in the [black|dark|quiet] water! {He} [jumped in|waded in|leaned over] with the {tool}, and the moon [broke|fell to pieces|went to bits].
"<Oh_no>! [I broke the moon|What have I done|Now nobody has a moon]!" <H_sobbed>. {F^} woke up. "[What is it|Who is crying|Why are you so wet]?" <F_asked>.
/ "[I broke it|The moon is broken|I spoiled the moon for everybody]," <H_sobbed>. {F^}, [who could not sleep|who was fishing], came closer. "[Are you sure|How can that be]?" <F_asked>.

The {+elder} [laughed|opened one eye] and pointed [up|at the sky]. "[Look up|Turn around], {H}." And there was the moon, [whole|round and whole|not broken at all].
/ "[Just wait|Sit still and wait]," said the {+elder}. When the water was [calm|quiet] again, the moon was [whole|back], and so was the one [above|in the sky].
"[So there are two|Then which one is real|So it was only its picture]?" <H_asked>. "The moon belongs to [everybody|nobody]," said the {elder}, [yawning|smiling].
/ "You cannot put it in your {home}," said the {elder}. "[But it comes to visit|But you can sit with it|Nobody can, not even a king]." {H} [sighed|nodded|thought about that].
? "[Is a bit of it mine, too|Do I have a moon, too]?" <F_asked>. "[A big bit|As much as you can look at]," said the {elder}.
So {H} [put down|let go of] the {tool} and sat [beside|with] {F} by the {place}. They watched until [the moon went behind the hill|{F} fell asleep|the birds woke up].
/ {H} filled a [bowl|bucket|cup] with water and put it [by the door|at the window] of the {home}. And look, [the moon was in it|there was a small moon in it]!
After that, {H} used the {+tool} for [butterflies|apples|old leaves|laundry] and went to see the moon [every clear night|with {F}|when it was full].
/ "Good night, moon," <H_said>, and {F} said it, too. The {tool} lay in the grass, [and nobody needed it|wet and empty|quite forgotten].
/ And when the moon was [thin|only a slice], {H} told {F} not to [worry|cry]. "[It always comes back|It is only resting]," <H_said>, and put away the {tool}.

== treasure: any; map=maps; prize=finds; where=outside_spots; a=digplaces
<One_day>, {H^} and {F+} found a {+map} [in the attic|inside an old book|behind a loose brick|in a bottle]. There was a [red|black|big] cross on it.
/ <Meet> <One_day>, {he} found a {+map} [in {his} {e}'s chest|in an old boot|under the floor]. {He} [showed it to|ran with it to] {F+}. "A treasure!" <H_cheered>.
"[It must be gold|Diamonds, I think|A chest of coins]!" <F_said>. They took a [shovel|spade], a [rope|compass|bag], [six|ten] [sandwiches|cookies|apples], and the {map}.
/ "[What will you buy|What will you do with the gold]?" <F_asked>. "[A ship|A mountain of {food}|A tower]," <H_said>. "[I want a horse|And I want wings]," said {F}.
The {map} led them {a}. {H} [slipped|fell in], and {F} lost a [boot|sandwich|sock], but [they went on|nobody turned back].
/ They went {a}, and {H} counted [forty|ninety|a hundred] steps to the [left|north|west]. {F} [got a blister|sang pirate songs|ate a sandwich].
? Then they had to [crawl through a hedge|climb over a wall|cross a swamp|jump over a ditch]. "[Are we nearly there|How far is it]?" <F_asked>.
? {H} held the {map} upside down [for an hour|all morning], so they [met the same goat twice|walked in a circle]. {F} [laughed|groaned].

The cross was {where}. {F} dug, and {H} dug, [deeper and deeper|until they were muddy]. [Clonk|Clunk|Tock]! There was a [tin|wooden|small] box!
/ "[Dig|Here it is]!" <H_cried>. It was {where}. They dug [in turns|with all their might] until {F} hit a [tin|wooden|small] box. [Clonk|Clunk|Tock]!
There was no gold in it, only a {+prize} and a letter. "[I was eight when I hid this|Whoever finds this is my friend|Now it is your turn]," {H} read.
/ {H} opened it with [shaking|dirty] {hands}. There was a {+prize}, and a note: "[Well done, friend|Good for you]! [The way was the treasure|Now hide something, too]."
"[Is that all|No gold]?" <F_asked>. {H} turned the {prize} [in {his} {hand}|over and over]. "[It is better than gold|Somebody kept it for us|A real secret]," <H_said>.
/ {F} looked at the {prize}, and {H} looked at {F}, [with mud in {fhis} hair|brown from top to toe]. "[It was the best day of my life|We were real pirates]," <F_said>.
So {H} kept the {prize}, and {F} put {fhis} [best marble|whistle|lucky coin|last sandwich] into the box. [They drew a new map|They hid it again|Then they closed it].
/ They took turns with the {+prize}. [One week|In summer] {H} had it, and [the next|in winter] {F} did. [The {map} hung over the bed|And the box waited in the earth].
/ "[Who will find it next|Will somebody find it]?" <F_asked>, when they had put in [a letter|a drawing]. {H} held the {prize} tight. "[Someone like us|I hope so]," <H_said>.

== sick: any; soup=soups; gift=toys; place=outdoors
<One_day>, {F^} did not come to play. {fhe^} was in bed with [a cold|a fever|a sore throat|the flu], and {new H} was [alone|sad].
/ <Meet> {His} best friend was {F}. But <one_day>, {F} was sick in bed with [a red nose|a fever|a cough like a goose].
/ <One_day>, {H^} waited {@place} for {F+}. But {F} [was sick|had a fever] and [had to stay in bed|could not come].
"I will bring {fhim} {soup}," <H_said>. {His} {p} [cut|peeled] the [carrots|onions|leeks], and {H} [stirred|tasted] it [nine times|until it was just right].
/ So {H} and {his} {p} [cooked|made] a pot of {soup}. "[Hot soup helps|Soup is good for sick friends|Carry it slowly|Mind the steps]," <p_said>.
{H} [carried|held] the pot [with both {hands}|like an egg]. Near the {place} [a goose ran across the road|{he} slipped on a wet stone|{he} sneezed]. [Splash|Clang]! No more {soup}.
/ On the way, near the {place}, {H} [tripped over a root|had to jump over a puddle|met a barking dog]. The pot [fell|tipped over], and the {soup} ran [into the grass|down the hill].
<Feel_sad> "[Now I have nothing to bring|All that work|And {F} is waiting]," <H_sobbed>. [One spoon|Half a carrot] was all that was left.
/ "<Oh_no>, the {soup}," <H_sobbed>. Should {he} [go home|turn back]? But {F} was [all alone|waiting]. {H} [looked into the empty pot|wiped {his} nose] and had an idea.

In the empty pot {he} put [a yellow leaf|a pine cone|a white stone], [a snail shell|a feather|some moss], and [seven acorns|a blue flower|a round pebble]. Then {H} [knocked|walked in].
/ So {he} picked <flower>, put them into the pot and {went} to {F}'s [door|bed]. "[I have brought you soup|Here is your soup]," <H_said>.
{F} sat up and [looked|peeked] into the pot. "[It is the strangest soup I ever saw|What kind of soup is that]!" <F_said>, and {fhe} [laughed|giggled] until {fhe} [coughed|dropped {fhis} hanky].
/ "[Flower soup|Forest soup|Magic soup]! My favorite," <F_said>, and {fhe} [smiled|laughed] for the first time [that day|in three days].
{H} told {fhim} about [the goose|the pot|the spill], and then they [played|read|sang] with {F}'s {+gift} until [supper|it got dark|{F} was tired].
/ {H} sat by the bed and [told stories|read aloud|made shadows on the wall], and the {+gift} [sat|lay] between them [and listened|on the pillow].
"[You are better than soup|I feel better now|That helped more than medicine], {H}," <F_said>, and {fhis} eyes [fell shut|closed]. {H} put the {gift} in {fhis} arm.
/ When {H} left, {F} [was fast asleep|slept], with the {gift} on one side and the [pot|funny soup] on the other. <Feel_happy>
A week later, {F} was [well|up], but {H} [had a cold|was sick]. There was a knock, and there stood {F} with a pot. "[Forest soup|I spilled nothing]," <F_said>.
/ Three days later, {F} came [running|to play] [with red cheeks|and was well again]. "[Shall we cook something|Do you have more soup]?" <F_asked>, and {H} [laughed|got the pot].
/ <Next_day>, {F} was [better|up]. And in the grass by the {place}, three [sparrows|mice|hens] were eating {soup}. "[So nothing was lost|It was good soup]," <H_said>.

== turnip: animal; veg=vegs; bug=bugs; tool=tools
In the garden of {new H} grew a {+veg}. It grew [and grew|day and night], until it was as big as a [cart|cow|bed|haystack].
/ <Meet> In spring {he} had planted a {veg}, and it [did not stop growing|grew day and night]. Now it was as big as [a cart|a cow|a barn door].
"[Today I will pull it out|Time for soup|I am hungry for {veg}]," <H_said>. {He} pulled the {veg} by the leaves until {he} [puffed|groaned|got red ears], but it [did not move|sat tight].
/ <One_day>, {H} wanted to make [soup|a stew]. {He} [pulled|tugged] at the {veg} [with both paws|with all {his} might]. It did not [move|come out].
? {H} [fetched|got|brought] a {+tool}. The {tool} [bent|broke|flew over the fence], but the {veg} [stayed|sat tight]. "[Help|I need help]!" <H_cried>.
So {F+} came. "[I am strong|Step aside|Leave it to me]," <F_said>. {F} held {H}, and {H} held the {veg}, and they pulled [like horses|and pulled]. Nothing moved.
/ {F^} came by and [rolled up {fhis} sleeves|took off {fhis} hat]. "[One, two, three|Ready, go]!" <F_cried>. They pulled until {F} [lost a shoe|fell on {fhis} back|saw stars].

Then {G+} came, too. {G} held {F}, {F} held {H}, and {H} held the {veg}. They [pulled|swung] and [groaned|sang], but [no|it stayed where it was].
/ "[Do you need one more|May I help]?" asked {G+}. Now they were three, {G} behind {F} and {F} behind {H}, and still the {veg} did not [come|budge].
"Can I help?" said a [thin|tiny] voice. It was a {+bug}. {F} laughed. "[You|What can you do]? You are no bigger than a [crumb|button|pea]," <F_said>.
/ A {+bug} had [watched|seen it all]. "[I will help you|Let me pull, too]," it said. {G} giggled, but {H} did not. "[Why not|Every leg helps|Come on, then]," <H_said>.
The {bug} [crawled|went] down into the earth and [bit|cut|nibbled] through one [last|thin] root of the {veg}. "Now [try|pull]," it called.
/ The {bug} held on to {G}'s tail. "[Together now|One, two, three]!" <H_cried>. And then, [very slowly|with a creak], the earth [cracked|opened].
[Plop|Pop|Whoosh]! Out came the {+veg}, and {H}, {F} and {G} fell [on their backs|in a heap|head over heels]. The {bug} landed on {H}'s nose.
/ [Plop|Pop|Whoosh]! The {+veg} flew out, rolled [down the hill|over {F}'s foot|across the yard] and stopped at {H}'s door.

That evening {H} cooked [a stew|soup] in the biggest pot, and [everybody ate|there was enough for all]. The {bug} sat at the [top|head] of the table [on a thimble|in a nutshell].
/ They ate {veg} soup, {veg} salad and {veg} cake [for a week|until Sunday]. And the first [plate|bowl|spoonful] was for the {bug}.
"[Who pulled it out|Who was the strongest]?" <F_asked>. "[I did|We did|All of us]," <H_said>. And the {bug} [only smiled|took a bow|winked at {G}].
/ "[Next year I will grow a small one|Never again such a big {veg}]," <H_said>. "[Oh no, a bigger one|Do, and call me]," said the {bug}, and {F} and {G} laughed.
'''
