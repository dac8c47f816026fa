"""Keys and pointer of a panel in JupyterLab: keys press buttons, drags and double clicks on the picture are heard."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
from IPython.display import Javascript

# JupyterLab runs the scripts of outputs. This one hands keys that are pressed in the panel to its buttons, and what the
# pointer does to a hidden line of text; without the attribute JupyterLab would take the keys for its own (a: a cell
# above, r: a raw cell). What is written into a field stays there, and a slider keeps its arrows.
LISTEN = """
(function listen(tries) {
  const panels = [...document.querySelectorAll(".%(name)s")].filter((panel) => !panel.dataset.listens);
  if (!panels.length) return tries && setTimeout(listen, 100, tries - 1);
  for (const panel of panels) {
    panel.dataset.listens = panel.dataset.lmSuppressShortcuts = "true";
    panel.tabIndex = 0;
    panel.style.outlineOffset = "-2px";
    const names = %(keys)s, down = new Set();
    const press = (key) => panel.querySelector(".%(name)s-" + names[key]).click();
    const release = (key) => down.delete(key) && press(key);
    panel.addEventListener("keydown", (event) => {
      const key = event.key;
      if (!Object.hasOwn(names, key) || event.ctrlKey || event.metaKey || event.altKey) return;
      const field = "input:not([type=checkbox]), textarea, select:not([size]), [contenteditable=true]";
      if (event.target.matches(field)) return;
      if (key.startsWith("Arrow") && event.target.matches("[role=slider]")) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.repeat) return;
      if (%(held)s.includes(key)) down.add(key);
      press(key);
    });
    panel.addEventListener("keyup", (event) => release(event.key));
    panel.addEventListener("focusout", () => [...down].forEach(release));
    if (%(pointer)s) {
      // where in the picture, as shares of its sides; its element may be wider or higher than it
      const share = (event) => {
        const picture = event.target, box = picture.getBoundingClientRect();
        const scale = Math.min(box.width / picture.naturalWidth, box.height / picture.naturalHeight);
        return [0.5 + (event.clientX - box.left - box.width / 2) / (picture.naturalWidth * scale),
                0.5 + (event.clientY - box.top - box.height / 2) / (picture.naturalHeight * scale)];
      };
      const say = (what, x, y) => {
        const line = panel.querySelector(".%(name)s-pointer input");
        line.value = [what, x.toFixed(4), y.toFixed(4), Date.now()].join(" ");
        line.dispatchEvent(new Event("input", {bubbles: true}));
      };
      const onPicture = (name, act) =>
        panel.addEventListener(name, (event) => event.target.matches("img") && act(event));
      let from = [0, 0];
      onPicture("dragstart", (event) => event.preventDefault());
      onPicture("pointerdown", (event) => {
        from = share(event);
        event.target.setPointerCapture(event.pointerId);
      });
      onPicture("pointerup", (event) => {
        const [x, y] = share(event), [left, top] = from;
        if (Math.hypot(x - left, y - top) > 0.01) say("drag", x - left, y - top);
      });
      onPicture("dblclick", (event) => say(event.shiftKey ? "out" : "in", ...share(event)));
    }
    if (%(focus)s) panel.focus({preventScroll: true});
  }
})(50);
"""


def add_keys(
    panel: ipywidgets.Widget,
    buttons: Mapping[str, ipywidgets.Widget],
    keys: Mapping[str, str],
    *,
    held: Sequence[str] = (),
    on_pointer: Callable[[str, float, float], None] | None = None,
    focus: bool = True,
) -> None:
    """
    Let keys press a panel's buttons once the panel was clicked.

    Parameters
    ----------
    panel
        A box; it takes one or two children more, which show nothing.
    buttons
        Name -> button or toggle button.
    keys
        Key as browsers call it ("a", "ArrowLeft") -> name of a button.
    held
        Those of the keys that press their button again as they are let go.
    on_pointer
        `on_pointer(what, x, y)` hears of the panel's first image: "drag" by a share of its sides, to the right and
        down; "in" or, with shift, "out" of double clicks, at a share of them from the top left.
    focus
        Whether keys go to the panel as soon as it is shown.
    """
    name = f"keys-{uuid.uuid4().hex[:8]}"
    for action, button in buttons.items():
        button.add_class(f"{name}-{action}")
    if on_pointer:
        line = ipywidgets.Text(layout={"display": "none"})
        line.add_class(f"{name}-pointer")
        line.observe(lambda change: _hear(change["new"], on_pointer), "value")
        panel.children = (*panel.children, line)
    script = {"name": name, "keys": dict(keys), "held": list(held), "pointer": on_pointer is not None, "focus": focus}
    script = {key: value if key == "name" else json.dumps(value) for key, value in script.items()}
    listener = ipywidgets.Output()
    listener.append_display_data(Javascript(LISTEN % script))
    panel.children = (*panel.children, listener)
    panel.add_class(name)


def _hear(said: str, on_pointer: Callable[[str, float, float], None]) -> None:
    what, x, y, _ = said.split()
    on_pointer(what, float(x), float(y))
