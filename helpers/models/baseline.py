"""The baseline that every model has to beat: words counted, weighted, and a linear classifier. Seconds, no GPU.
Taught in notebook 00, section 5."""

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline


def make_baseline() -> Pipeline:
    """Return TF-IDF over words and pairs of words, then logistic regression with classes weighted by their rarity."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=5, class_weight="balanced", max_iter=1000))
