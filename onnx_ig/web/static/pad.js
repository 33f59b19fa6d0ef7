// A canvas to draw on, white on black, with pointer or keyboard; pictures can be shown on it too.

/** Shows ``picture`` whole and centred, black around it. */
export function showOn(canvas, picture) {
  const context = canvas.getContext("2d");
  const scale = Math.min(canvas.width / picture.width, canvas.height / picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = scale < 1;
  context.drawImage(picture, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
}

/**
 * Calls ``changed`` after each move of the pen. ``cells``: how many of the model's pixels lie side by side; the pen is
 * about one of them wide.
 */
export function drawingPad(canvas, cells, changed) {
  const side = canvas.width;
  const step = side / Math.min(cells, 28);
  const context = canvas.getContext("2d");
  Object.assign(context, {
    lineCap: "round",
    lineJoin: "round",
    strokeStyle: "#fff",
    lineWidth: side / Math.min(cells, 12),
  });
  let pen = { x: side / 2, y: side / 2 };
  let down = false;
  const marker = canvas.nextElementSibling;

  function clear() {
    context.fillStyle = "#000";
    context.fillRect(0, 0, side, side);
    down = false;
  }

  function lineTo(place) {
    context.beginPath();
    context.moveTo(pen.x, pen.y);
    context.lineTo(place.x + 0.01, place.y); // a line of no length draws nothing, not even a dot
    context.stroke();
    pen = place;
    changed();
  }

  /** Shows where the keyboard's pen is. */
  function mark() {
    Object.assign(marker.style, { left: `${(100 * pen.x) / side}%`, top: `${(100 * pen.y) / side}%` });
    marker.classList.toggle("down", down);
  }

  const placeOf = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return { x: ((clientX - box.left) * side) / box.width, y: ((clientY - box.top) * side) / box.height };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pen = placeOf(event);
    lineTo(pen);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) lineTo(placeOf(event));
  });

  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const inside = (value) => Math.min(Math.max(value, 0), side);
    if (event.key in MOVES) {
      const [x, y] = MOVES[event.key];
      const place = { x: inside(pen.x + x * step), y: inside(pen.y + y * step) };
      if (down) lineTo(place);
      else pen = place;
    } else if (event.key === " ") {
      down = !down;
      if (down) lineTo(pen);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
      changed();
    } else return;
    event.preventDefault();
    mark();
  });

  clear();
  mark();
  return { clear };
}
