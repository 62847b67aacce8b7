"""A model of one's own, written as for Xinference: words that praise count for a text, words that blame against it."""

from xinference.model.flexible import FlexibleModel


class Sentiment(FlexibleModel):
    """Counts words."""

    def load(self) -> None:
        """Take the words from the arguments."""
        self.good = set(self.config.get("good", ()))
        self.bad = set(self.config.get("bad", ()))

    def infer(self, text: str) -> dict[str, int]:
        """Words that praise less words that blame."""
        words = text.lower().split()
        return {"score": sum(word in self.good for word in words) - sum(word in self.bad for word in words)}


def launcher(model_uid, model_spec, **kwargs):
    """The launcher that a definition names."""
    return Sentiment(model_uid=model_uid, model_path=model_spec.model_uri, config=kwargs)
