"""Keys and pointer without a browser: which script is sent, and what comes back; tests with Chromium press them."""

import ipywidgets

from lib.show.keys import add_keys


def listening(**options):
    """A box whose two buttons have keys; and what its pointer did."""
    buttons, heard = {name: ipywidgets.ToggleButton() for name in ("lines", "before")}, []
    box = ipywidgets.VBox([ipywidgets.Image(), *buttons.values()])
    add_keys(box, buttons, {"h": "lines", "b": "before"}, on_pointer=lambda *said: heard.append(said), **options)
    return box, buttons, heard


def test_keys_press_the_buttons_of_their_own_panel():
    (first, buttons, _), (second, *_) = listening(held="b"), listening(focus=False)
    scripts = [box.children[-1].outputs[0]["data"]["application/javascript"] for box in (first, second)]
    names = [box._dom_classes[0] for box in (first, second)]
    assert names[0] != names[1] and all(name in script for name, script in zip(names, scripts, strict=True))
    assert '{"h": "lines", "b": "before"}' in scripts[0] and '["b"].includes' in scripts[0]
    assert "if (true) panel.focus" in scripts[0] and "if (false) panel.focus" in scripts[1]
    assert all(f"{names[0]}-{name}" in button._dom_classes for name, button in buttons.items())


def test_the_pointer_is_heard_each_time():
    box, _, heard = listening()
    line = box.children[-2]
    line.value = "drag 0.2500 -0.5000 1"
    line.value = "drag 0.2500 -0.5000 2"
    line.value = "in 0.1000 0.9000 3"
    assert heard == [("drag", 0.25, -0.5)] * 2 + [("in", 0.1, 0.9)]
