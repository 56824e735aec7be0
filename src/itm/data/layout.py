"""Names of the files that the stages hand to each other; the folders are stated in dvc.yaml."""

CAPTIONS = "captions.parquet"
IMAGES = "images.parquet"
TEXTS = "texts.parquet"
HIERARCHIES = "hierarchies.parquet"
RATINGS = "ratings.parquet"
TRUTH = "truth.npz"
QUARANTINE = "quarantine.parquet"
KEYWORDS = "keywords.npz"
IDF = "idf.parquet"
IMAGE_FEATURES = "images.safetensors"
TEXT_FEATURES = "texts.safetensors"
MODEL_WEIGHTS = "model.safetensors"
MODEL_CARD = "model.json"
EMBEDDINGS = "embeddings.npz"
DEV_EMBEDDINGS = "dev.npz"
GRADE = "grade.json"
GRADE_IDF = "grade.idf.parquet"
DESCRIPTIONS = "descriptions.jsonl"
DESCRIPTION_VECTORS = "vectors.safetensors"
COVERAGE = "coverage.json"

SPLITS = ("train", "dev", "test")


def shard(split: str) -> str:
    """The name of the image shard of a split; photos of other benchmarks travel with the test split.

    >>> shard("train"), shard("hierarcaps")
    ('images-train.tar', 'images-test.tar')
    """
    return f"images-{split if split in SPLITS else 'test'}.tar"
