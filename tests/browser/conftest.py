"""The browser of the tests in this folder.

LAGVIS_REQUIRE=browser turns the skip into a failure if no browser is installed.
"""

import shutil

import pytest

from tests.conftest import skip_or_fail

BROWSERS, DRIVER = ("chromium", "google-chrome", "chromium-browser"), "chromedriver"


@pytest.fixture(scope="package")
def chrome():
    """Start a headless browser that logs its console and every request."""
    browser, driver = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which(DRIVER)
    if not browser or not driver:
        skip_or_fail("browser", f"none of {', '.join(BROWSERS)} is installed, or no {DRIVER}")
    try:
        from selenium import webdriver
    except ImportError as error:
        skip_or_fail("browser", f"selenium drives the browser: {error}")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-device-scale-factor=1"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(driver)
    opened = webdriver.Chrome(options=options, service=service)
    yield opened
    opened.quit()
