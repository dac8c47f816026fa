// What stands on a scene's map beside its layers: the title, how far the layers cover the image, and a swipe that
// draws them aside. The image lies in the tile pane, everything over it in the overlay pane.
function sceneView(map, title) {
  const pane = map.getPane("overlayPane"), container = map.getContainer();
  const make = L.DomUtil.create;
  const view = L.control({position: "topleft"});
  view.onAdd = () => {
    const box = make("div", "view");
    if (title) make("strong", "", box).textContent = title;
    const range = (parent, label, value) => {
      const input = make("input", "", parent);
      Object.assign(input, {type: "range", min: 0, max: 1, step: "any", value: value});
      input.setAttribute("aria-label", label);
      return input;
    };
    const opacity = make("label", "", box);
    opacity.textContent = "layers ";
    const cover = range(opacity, "opacity of the layers", 1);
    cover.oninput = () => { pane.style.opacity = cover.value; };
    const swipe = make("label", "", box), on = make("input", "", swipe);
    on.type = "checkbox";
    swipe.append(" swipe: image | layers");
    L.DomEvent.disableClickPropagation(box);
    L.DomEvent.disableScrollPropagation(box);

    const edge = make("div", "edge", container);
    const place = range(container, "where image and layers part", 0.5);
    place.className = "place";
    L.DomEvent.disableClickPropagation(place);
    const draw = () => {
      edge.hidden = place.hidden = !on.checked;
      const size = map.getSize(), corner = map.containerPointToLayerPoint([0, 0]);
      // the thumb's middle, which stays half a thumb inside of the track
      const x = THUMB_PX / 2 + place.value * (size.x - THUMB_PX);
      edge.style.left = `${x}px`;
      const [top, right, bottom, left] = [corner.y, corner.x + size.x, corner.y + size.y, corner.x + x];
      pane.style.clip = on.checked ? `rect(${top}px ${right}px ${bottom}px ${left}px)` : "";
    };
    on.onchange = place.oninput = draw;
    place.onpointerdown = () => map.dragging.disable();
    place.onpointerup = place.onpointercancel = () => map.dragging.enable();
    map.on("move zoom resize", draw);
    draw();
    return box;
  };
  view.addTo(map);
}
const THUMB_PX = 34;
