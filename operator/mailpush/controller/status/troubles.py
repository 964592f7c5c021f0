"""A condition of what keeps pods from something, by the word that each pod says on its Lease. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from mailpush.api.conditions import Verdict


def common_trouble(
    type: str, words: Sequence[str], *, fine: str, cannot: str, advice: Mapping[str, str], hint: str, waits: str
) -> Verdict:
    """The word that most pods say, with what to do; of words that are as frequent, the last of the alphabet.

    Args:
        type: of the condition.
        words: one of each pod, empty where nothing keeps it.
        fine: the sentence where nothing keeps any. cannot: behind "2 of 3 pods".
        advice: by word. hint: for other words.
        waits: what goes on meanwhile, and what does not.
    """
    troubles = Counter(word for word in words if word)
    if not troubles:
        return Verdict(type, "False", "Answering", fine)
    worst = max(troubles, key=lambda trouble: (troubles[trouble], trouble))
    text = f"{troubles[worst]} of {len(words)} pods {cannot} ({worst}): {advice.get(worst, hint)}; {waits}"
    return Verdict(type, "True", worst, text)
