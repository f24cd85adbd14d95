// Gives the texts below the elements that a selector names, each with the contrast of its colour
// to its ground, by the formulas of WCAG 2 (relative luminance, contrast ratio).
(selector) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

  // Any CSS colour as [red, green, blue, alpha], the first three of 0 to 255, the last of 0 to 1.
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = ([r, g, b, a], ground) => [r, g, b].map((c, i) => c * a + ground[i] * (1 - a));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((c) => {
      const part = c / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const ancestors = (element) => {
    const all = [];
    for (let each = element; each; each = each.parentElement) all.push(each);
    return all;
  };
  const groundOf = (element) =>
    ancestors(element)
      .reverse()
      .reduce((ground, each) => over(rgba(getComputedStyle(each).backgroundColor), ground), [
        255, 255, 255,
      ]);
  const opacityOf = (element) =>
    ancestors(element).reduce((all, each) => all * Number(getComputedStyle(each).opacity), 1);
  const colourOf = (element) => {
    const style = getComputedStyle(element);
    return rgba(element.closest("svg") ? style.fill : style.color);
  };

  const found = [];
  for (const root of document.querySelectorAll(selector)) {
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode.textContent.trim();
      const element = texts.currentNode.parentElement;
      if (!text || !element.checkVisibility() || element.closest("title, desc")) continue;
      const ground = groundOf(element);
      const [r, g, b, alpha] = colourOf(element);
      const colour = over([r, g, b, alpha * opacityOf(element)], ground);
      found.push({ text, colour, ground, ratio: ratio(colour, ground) });
    }
  }
  return found;
};
