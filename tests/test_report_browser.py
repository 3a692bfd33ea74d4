"""The report in a real browser: sorting, filtering, opening, pointing, keys, and text that stays text."""

import re
import shutil

import pytest

from reporting.build import write_report
from tests import generated_details as generated
from tests.generated_details import HOSTILE, TRUTH, many, varied, write_truth
from training.runs import find_runs, write_runs_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium without a window."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def varied_report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    labels = write_truth(folder / "metadata.json")
    return write_report(varied(), folder / "report.html", labels=[labels]).path


@pytest.fixture(scope="module")
def large_report(tmp_path_factory):
    return write_report(many(1000), tmp_path_factory.mktemp("report") / "report.html").path


@pytest.fixture
def open_page(browser):
    """Opens a report, and in the end sees that nothing went wrong in it and that it asked for nothing else."""
    opened = []

    def call(path, fragment="", **settings):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        page, troubles, requests = context.new_page(), [], []
        page.set_default_timeout(10_000)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{path.as_uri()}{fragment}")
        opened.append((context, path, troubles, requests))
        return page

    yield call
    for context, path, troubles, requests in opened:
        context.close()
        assert troubles == []
        assert {url.partition("#")[0] for url in requests if not url.startswith("data:")} == {path.as_uri()}


def names(page):
    return page.locator("tbody .what").all_text_contents()


def number_of(text):
    return float(re.search(r"\d\.\d+", text)[0])


def by_label(records, down=True):
    ranked = sorted(records, key=lambda r: (not r["labels"], -r["label"] if down else r["label"]))
    return [r["filename"] for r in ranked]


@pytest.mark.parametrize("down", [True, False])
def test_videos_are_in_the_order_of_their_scores_and_those_without_one_last(varied_report, open_page, down):
    page = open_page(varied_report)
    if not down:
        page.get_by_role("button", name="P(fake)").click()
    assert names(page) == by_label(varied(), down)
    assert names(page)[-2:] == ["nobody.mp4", "broken.mp4"]


def test_columns_sort_both_ways_and_say_so(varied_report, open_page):
    page = open_page(varied_report)
    page.get_by_role("button", name="Faces").click()
    counts = [int(text) for text in page.locator("tbody td[data-title=faces]").all_text_contents()]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) > 3
    page.get_by_role("button", name="Faces").click()
    assert [int(text) for text in page.locator("tbody td[data-title=faces]").all_text_contents()] == counts[::-1]
    assert page.locator("th.count").first.get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Video", exact=True).click()
    assert names(page) == sorted(names(page), key=str.lower) and names(page)[0] == HOSTILE


def test_filters_narrow_the_table_together(varied_report, open_page):
    page = open_page(varied_report)
    page.get_by_label("Name contains").fill("CLEAR")
    assert names(page) == ["clearly_fake.mp4", "clearly_real.mp4"]
    page.get_by_label("to", exact=True).fill("0.5")
    assert names(page) == ["clearly_real.mp4"]
    assert page.locator("#shown").text_content() == "1 of 10 videos shown"
    page.get_by_role("button", name="Reset").click()
    assert len(names(page)) == 10


def test_warnings_and_known_labels_can_be_filtered(varied_report, open_page):
    page = open_page(varied_report)
    page.get_by_role("combobox", name="Warnings").select_option("decode errors")
    assert names(page) == ["dark.mp4"]
    page.get_by_role("combobox", name="Warnings").select_option("not readable")
    assert names(page) == ["broken.mp4"]
    page.get_by_role("combobox", name="Warnings").select_option("none")
    assert "few.mp4" not in names(page) and "clearly_fake.mp4" in names(page)
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("combobox", name="Known label").select_option("FAKE")
    assert set(names(page)) == {name for name, label in TRUTH.items() if label == "FAKE"}
    page.get_by_role("combobox", name="Known label").select_option("wrong")
    assert names(page) == ["dark.mp4"]


def test_bar_of_the_histogram_shows_its_videos(varied_report, open_page):
    page = open_page(varied_report)
    bar = page.get_by_role("button", name=re.compile(r"^0\.90 to 0\.95|^0\.85 to 0\.90")).filter(has_text="1").first
    bar.click()
    assert names(page) == ["clearly_fake.mp4"]
    assert bar.get_attribute("aria-pressed") == "true"
    bar.click()
    assert len(names(page)) == 10


def test_range_leaves_out_what_was_not_scored(varied_report, open_page):
    page = open_page(varied_report)
    page.get_by_label("P(fake) from").fill("0.3")
    assert {"nobody.mp4", "broken.mp4"}.isdisjoint(names(page)) and "few.mp4" in names(page)


def test_video_opens_with_its_label_in_words_and_closes(varied_report, open_page):
    page = open_page(varied_report)
    page.get_by_text("clearly_fake.mp4").click()
    dialog = page.get_by_role("dialog")
    assert dialog.locator("h2").text_content() == "clearly_fake.mp4"
    assert number_of(dialog.locator(".verdict").text_content()) == pytest.approx(varied()[0]["label"], abs=0.01)
    why = dialog.locator(".why").all_text_contents()
    assert len(why) == 2 and all(re.search(r"\d+ of 32 faces above 0\.8: mean of those, 0\.\d\d", text) for text in why)
    assert "2 networks, all on the fake side" in dialog.text_content()
    dialog.get_by_role("button", name="Close").click()
    assert page.get_by_role("dialog").count() == 0
    assert page.evaluate("document.activeElement.textContent").startswith("clearly_fake.mp4")


def test_keys_move_open_step_and_close(varied_report, open_page):
    page, order = open_page(varied_report), by_label(varied())
    title = page.locator("#detail-title")
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    assert title.text_content() == order[1]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("j")
    assert title.text_content() == order[3]
    page.keyboard.press("ArrowLeft")
    assert title.text_content() == order[2]
    page.keyboard.press("Escape")
    page.locator("dialog:not([open])").wait_for(state="attached")
    assert page.evaluate("document.activeElement.textContent").startswith(order[2])
    page.keyboard.press("/")
    page.keyboard.type("nobody")
    assert names(page) == ["nobody.mp4"]


def test_previous_video_ends_at_the_first(varied_report, open_page):
    page = open_page(varied_report)
    page.locator("tbody tr").first.click()
    assert page.get_by_role("button", name="previous video").is_disabled()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#detail-title").text_content() == by_label(varied())[0]


def test_address_opens_a_video_and_back_closes_it(varied_report, open_page):
    page = open_page(varied_report, "#video-2")
    assert page.locator("#detail-title").text_content() == "two_people.mp4"
    page.get_by_role("button", name="Close").click()
    page.get_by_text("few.mp4").click()
    page.go_back()
    page.locator("dialog:not([open])").wait_for(state="attached")


def test_pointing_at_a_point_says_what_it_is_and_shows_its_face(varied_report, open_page):
    page = open_page(varied_report, "#video-0")
    page.locator(".timeline .point").nth(20).hover()
    faces = varied()[0]["faces"]
    frame, probability = faces[10]["frame"], faces[10]["probabilities"][0]
    tip = page.locator(".tip").text_content()
    assert f"frame {frame} ({frame / 29.97:.1f} s)" in tip and "A first_network" in tip
    assert number_of(tip) == pytest.approx(probability, abs=0.006)
    assert page.locator(".strip [aria-pressed=true]").get_attribute("title").startswith(f"track 0, frame {frame}:")
    assert f"frame {frame} " in page.locator(".scrub + p").text_content()
    page.locator(".timeline svg").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert f"frame {faces[11]['frame']} " in page.locator(".tip").text_content()


def test_points_stand_at_their_time_and_probability(varied_report, open_page):
    page = open_page(varied_report, "#video-0")
    grid = {float(line.get_attribute("y1")) for line in page.locator("line.grid[x1='34'][x2]").all()[:2]}
    one, zero = sorted(grid)
    xs, ys = [], []
    for point in page.locator(".timeline .point").all():
        x, y = re.findall(r"[\d.]+", point.get_attribute("transform"))
        xs, ys = [*xs, float(x)], [*ys, (zero - float(y)) / (zero - one)]
    faces = varied()[0]["faces"]
    expected = [(face["frame"], p) for face in faces for p in face["probabilities"]]
    assert ys == pytest.approx([p for _, p in expected], abs=1e-3)
    assert xs[0] == 34 and xs == pytest.approx([34 + (xs[-1] - 34) * frame / 299 for frame, _ in expected], abs=0.1)


def test_clips_are_drawn_as_spans_over_their_frames(varied_report, open_page):
    page = open_page(varied_report, "#video-3")
    spans = page.locator(".timeline .span")
    assert spans.count() == 6
    first = {end: float(spans.first.get_attribute(end)) for end in ("x1", "x2", "y1", "y2")}
    assert first["x2"] - first["x1"] > 100 and first["y1"] == first["y2"]
    assert "the most fake of 6 tracks" in page.get_by_role("dialog").text_content()


def test_series_can_be_hidden(varied_report, open_page):
    page = open_page(varied_report, "#video-2")
    before = page.locator(".timeline .point").count()
    page.get_by_role("checkbox", name="track 1").uncheck()
    page.get_by_role("checkbox", name="A first_network").uncheck()
    assert page.locator(".timeline .point").count() == before / 4


def test_box_lies_where_the_face_is(varied_report, open_page):
    page = open_page(varied_report, "#video-0")
    page.locator(".strip button").nth(5).click()
    box, stage = page.locator(".box").bounding_box(), page.locator(".stage").bounding_box()
    xmin, ymin, xmax, _ = varied()[0]["faces"][5]["box"]
    assert (box["x"] - stage["x"]) / stage["width"] * 640 == pytest.approx(xmin, abs=2)
    assert (box["y"] - stage["y"]) / stage["height"] * 360 == pytest.approx(ymin, abs=2)
    assert box["width"] / stage["width"] * 640 == pytest.approx(xmax - xmin, abs=4)


def test_markup_in_a_file_name_is_shown_as_text(varied_report, open_page):
    page = open_page(varied_report)
    assert HOSTILE in names(page)
    assert page.locator("img").count() == 0
    page.get_by_text("onerror").click()
    assert page.locator("#detail-title").text_content() == HOSTILE
    assert page.locator("dialog img").count() == 0
    assert page.title() == "Report on 10 videos"


def test_markup_that_got_into_the_page_could_not_run(varied_report, tmp_path, browser):
    text = varied_report.read_text().replace(
        "<main>", "<main><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    )
    (tmp_path / "changed.html").write_text(text)
    page = browser.new_page()
    blocked = []
    page.on("console", lambda message: blocked.append(message.text))
    page.goto((tmp_path / "changed.html").as_uri())
    assert page.title() == "Report on 10 videos"
    assert sum("Content Security Policy" in text for text in blocked) >= 2
    page.close()


def test_videos_that_were_not_scored_say_why(varied_report, open_page):
    page = open_page(varied_report, "#video-8")
    text = page.get_by_role("dialog").text_content()
    assert "Not scored" in text and "not scored: is not a readable video" in text
    assert "No face was found" not in text and "Looked at" not in text
    page = open_page(varied_report, "#video-7")
    assert "no face found" in page.get_by_role("dialog").text_content()


@pytest.mark.parametrize("video", [None, 0, 2, 3, 6, 8])
def test_nothing_is_wider_than_a_phone(varied_report, open_page, video):
    page = open_page(varied_report, "" if video is None else f"#video-{video}", viewport={"width": 375, "height": 700})
    for element in ("document.documentElement", "document.getElementById('detail')"):
        assert page.evaluate(f"{element}.scrollWidth <= {element}.clientWidth")


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_light_and_dark_follow_the_system_until_one_is_chosen(varied_report, open_page):
    light, dark = (open_page(varied_report, color_scheme=scheme) for scheme in ("light", "dark"))
    colours = background(light), background(dark)
    assert colours[0] != colours[1]
    dark.get_by_role("button", name="Theme").click()
    assert (background(dark), dark.locator("#theme").text_content()) == (colours[0], "Theme: light")
    dark.reload()
    assert background(dark) == colours[0]


def test_pictures_heat_maps_and_thumbnails_are_shown(video, weights, tmp_path, open_page):
    frames = list(range(0, 48, 12))
    faces = [{"frame": frame, "box": [260, 60, 360, 190], "probabilities": [0.9]} for frame in frames]
    changes = {"models": ["small"], "labels": {"small": 0.9}, "label": 0.9, "frames": frames, "faces": faces}
    record = generated.video(video.name, 0.9, models=["small"]) | changes
    options = {"videos": video.parent, "heatmaps": 2, "checkpoints": [weights / "small"], "device": "cpu"}
    page = open_page(write_report([record], tmp_path / "report.html", **options).path, "#video-0")
    assert page.locator(".heatmaps img").count() == 4 and page.locator(".stage img").count() == 1
    for image in page.locator("img").all():
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => image.naturalWidth") >= 140
    tiles = page.locator(".strip .face").evaluate_all("all => all.map((e) => getComputedStyle(e).backgroundImage)")
    assert len(tiles) == 4 and all(tile.startswith('url("data:image/webp') for tile in tiles)
    assert page.locator("tbody .face").evaluate("e => getComputedStyle(e).backgroundImage") == tiles[0]


def test_page_of_training_runs_names_the_point_under_the_pointer(tmp_path, open_page):
    (tmp_path / "logs" / "b7_111").mkdir(parents=True)
    rows = [f"{i},{0.5 - i / 10},{0.3},{0.4 - i / 20}" for i in range(4)]
    text = "\n".join(["epoch,fake_loss,real_loss,bce", *rows]) + "\n"
    (tmp_path / "logs" / "b7_111" / "metrics.csv").write_text(text)
    page = open_page(write_runs_page(find_runs(tmp_path / "logs"), tmp_path / "runs.html"))
    marks = page.locator("#overview .plot circle")
    best = page.locator("#overview .plot path").nth(3)
    best.wait_for()
    assert marks.count() == 1, "the best epoch alone: nothing has been pointed at"
    page.locator("#overview .plot path").nth(2).hover()
    assert page.locator("#overview .tip").text_content() == "b7_111, epoch 2: 0.3000"
    assert marks.count() == 2
    place = marks.last.get_attribute("cx")
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function(
        "place => document.querySelector('#overview circle[r=\"4\"]').getAttribute('cx') != place", arg=place
    )
    epoch_2 = page.locator("#overview .plot path").nth(2).get_attribute("transform")
    assert epoch_2.startswith(f"translate({marks.last.get_attribute('cx')} "), "the mark stays on its point"
    page.locator("#run-0 .chart").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#run-0 .tip").text_content() == "bce, epoch 0: 0.4000"


def test_thousand_videos_are_paged_and_still_filtered_and_opened(large_report, open_page):
    page = open_page(large_report)
    assert len(names(page)) == 50
    assert page.locator("#shown").text_content() == "1000 of 1000 videos shown, page 1 of 20"
    page.get_by_role("button", name="Next →").focus()
    for _ in range(2):  # the button that has the focus is another one on each page
        page.keyboard.press("Enter")
    assert page.locator("#shown").text_content().endswith("page 3 of 20")
    page.get_by_role("button", name="← Previous").click()
    order = by_label(many(1000))
    assert names(page) == order[50:100]
    page.locator("tbody tr").last.click()
    page.keyboard.press("j")
    assert page.locator("#detail-title").text_content() == order[100]
    page.keyboard.press("Escape")
    page.locator("dialog:not([open])").wait_for(state="attached")
    assert names(page) == order[100:150]
    page.get_by_label("Name contains").fill("00777")
    assert names(page) == ["part_7/00777.mp4"]


def test_label_that_was_kept_off_the_end_says_so(tmp_path, open_page):
    record = generated.video("a.mp4", 0.9, models=["one"]) | {"labels": {"one": 0.9998}, "label": 0.999}
    dialog = open_page(write_report([record], tmp_path / "r.html").path, "#video-0").get_by_role("dialog")
    assert "The label is the mean over one network, 0.9998, kept at 0.9990." in dialog.text_content()


@pytest.mark.parametrize(("label", "text"), [(0.62499703, "▲ 0.62"), (0.625, "▲ 0.63"), (0.50000001, "▲ 0.50")])
def test_number_is_the_same_wherever_it_is_shown(tmp_path, open_page, label, text):
    faces = [{"frame": 0, "box": [200, 60, 300, 190], "probabilities": [label]}]
    record = generated.video("a.mp4", 0.9, models=["one"], faces=faces, label=label, labels={"one": label})
    truth = write_truth(tmp_path / "metadata.json", {"a.mp4": "REAL"})
    page = open_page(write_report([record], tmp_path / "r.html", labels=[truth]).path)
    row = page.locator("tbody tr")
    assert row.locator(".score").text_content() == text and "✗" in row.locator(".truth").text_content()
    assert "0 of 1 with a known label" in page.locator(".remarks").text_content()
    row.click()
    for place in (".verdict", ".why .score", ".strip button b", ".box span"):
        assert page.locator(place).text_content().startswith(text)
    assert page.locator(".why p").text_content().endswith(f"decides, {text[2:]}")


def test_number_of_four_digits_stays_off_its_bar(tmp_path, open_page):
    record = generated.video("a.mp4", 0.9, models=["one"], label=1.0)
    page = open_page(write_report([record], tmp_path / "r.html").path)
    text = page.locator("tbody .score b").evaluate(
        "e => { const range = document.createRange(); range.selectNodeContents(e);"
        " return range.getBoundingClientRect().right; }"
    )
    assert page.locator("tbody .bar").bounding_box()["x"] - text >= 6


def test_calibrated_score_says_by_what(tmp_path, open_page):
    scaled = {"calibrated": 0.09, "calibration": {"temperature": 1.3171, "file": "t.json"}}
    page = open_page(write_report([generated.video("a.mp4", 0.2, **scaled)], tmp_path / "r.html").path, "#video-0")
    assert "0.09 (temperature 1.32)" in page.locator(".facts").text_content()


def test_number_of_a_face_says_whose_mean_it_is(varied_report, open_page):
    said = "the mean over the 2 networks that see single faces (A, B)"
    assert said in open_page(varied_report, "#video-0").get_by_role("dialog").text_content()
    assert "A number is" not in open_page(varied_report, "#video-3").get_by_role("dialog").text_content()


@pytest.mark.parametrize(("people", "wide"), [(1, False), (2, False), (4, True)])  # without pictures: short rows
def test_many_faces_have_the_whole_width_below_the_frame(tmp_path, open_page, people, wide):
    record = generated.video("a.mp4", 0.9, people=people)
    page = open_page(write_report([record], tmp_path / "r.html").path, "#video-0")
    frames = page.locator(".frames").bounding_box()
    faces = page.locator("section.card", has=page.locator(".strip")).bounding_box()
    assert (faces["x"] == frames["x"] and faces["y"] > frames["y"] + frames["height"]) == wide
    assert (faces["width"] > 1000) == wide
