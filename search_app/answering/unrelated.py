"""Questions that have nothing to do with most documents: how near do they come all the same?

Every question has a nearest passage, and how near it is depends on the model, on the language and
on how many and how diverse the passages are. What these find says what is usual for an index, with
nothing labelled. Some may hit the subject of a collection; the median does not mind.
"""

from collections.abc import Mapping, Sequence

from search_app.answering.wording import Language

_ENGLISH = """
how long do I boil an egg
who pays for the repair of a rented flat
which shoes are good for running on sand
when was the bridge over the river built
what is the capital of the neighbouring country
how do I get rid of ants in the kitchen
can I take a bicycle on the night train
which medicine helps against a headache
how many players are in a volleyball team
what does a passport for a child cost
why do leaves turn red in autumn
how is the tax on a second home worked out
which painter lived in that village
what is the best time to plant tomatoes
how do I change the number of my bank card
how far is the moon from the earth
who wrote the song about the lighthouse
what do owls eat in winter
how do I knit a scarf
when does the swimming pool open on holidays
how are diamonds formed
what is the notice period of an employment contract
which grape is this wine made from
how loud is an aeroplane at take-off
who won the election ten years ago
how do I change a flat tyre
what is the difference between a violin and a viola
how many calories does a banana have
which insurance covers water damage
how does a vaccine work
what causes earthquakes
how do I teach a dog to sit
"""

_JAPANESE = """
卵は何分ゆでればよいですか
賃貸住宅の修理費は誰が払いますか
砂浜を走るのに向いた靴はどれですか
川に架かる橋はいつ建てられましたか
隣の国の首都はどこですか
台所の蟻を退治する方法は
夜行列車に自転車を持ち込めますか
頭痛に効く薬は何ですか
バレーボールは何人で行いますか
子どもの旅券はいくらかかりますか
秋に葉が赤くなるのはなぜですか
別荘にかかる税金はどのように計算しますか
その村に住んでいた画家は誰ですか
トマトを植えるのに良い時期はいつですか
銀行のカードの暗証番号を変えるには
地球から月までの距離はどれくらいですか
灯台の歌を作ったのは誰ですか
フクロウは冬に何を食べますか
マフラーの編み方を教えてください
市民プールは祝日に何時から開きますか
ダイヤモンドはどのようにしてできますか
雇用契約の解約予告期間はどれくらいですか
このワインはどのぶどうから作られますか
離陸する飛行機の音はどれくらい大きいですか
十年前の選挙で勝ったのは誰ですか
パンクしたタイヤの交換方法は
バイオリンとビオラの違いは何ですか
バナナのカロリーはどれくらいですか
水漏れの損害を補償する保険はどれですか
ワクチンはどのように働きますか
地震はなぜ起こりますか
犬にお座りを教えるにはどうすればよいですか
"""

UNRELATED: Mapping[Language, Sequence[str]] = {
    "en": tuple(_ENGLISH.strip().splitlines()),
    "ja": tuple(_JAPANESE.strip().splitlines()),
}
"""By the language that a question counts as, see ``wording.language_of``."""
