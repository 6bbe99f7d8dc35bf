from services.api.server import Api
from tests import samples


def test_the_sample_documents_every_option_with_its_true_default() -> None:
    samples.assert_sample_tells_the_truth(Api, "api")
