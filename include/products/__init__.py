"""The model products: an explicit tuple, so that what runs can be read here and nowhere else."""

from include.products import coupon_redemption, household_lapse
from include.spec.errors import HeadraceError
from include.spec.product import ModelProduct

PRODUCTS: tuple[ModelProduct, ...] = (coupon_redemption.PRODUCT, household_lapse.PRODUCT)


def product_named(name: str) -> ModelProduct:
    """The product of that name.

    Raises:
        HeadraceError: There is none; the message lists those there are.
    """
    for product in PRODUCTS:
        if product.name == name:
            return product
    named = ", ".join(product.name for product in PRODUCTS)
    raise HeadraceError(f"There is no product {name!r}.", remedy=f"There are: {named}.")
