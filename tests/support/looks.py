"""What can be measured of how a page looks, and of what it tells those who do not see it."""

from __future__ import annotations

from playwright.async_api import Page

# Relative luminance and contrast: WCAG 2.2, definitions; 4.5 : 1 for text, 3 : 1 for large text (1.4.3).
_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const ground = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) layers.push(rgba(getComputedStyle(each).backgroundColor));
    return layers.reduceRight((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility({ opacityProperty: true })) continue;
    if (element.closest(":disabled, .unseen, option, .skip-link, noscript")) continue;
    const style = getComputedStyle(element);
    const under = ground(element);
    let faint = 1;
    for (let each = element; each; each = each.parentElement) faint *= Number(getComputedStyle(each).opacity);
    const colour = rgba(style.color);
    const [a, b] = [light(over([...colour.slice(0, 3), colour[3] * faint], under)), light(under)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const [size, weight] = [parseFloat(style.fontSize), Number(style.fontWeight)];
    const large = size >= 24 || (size >= 18.7 && weight >= 700);
    const text = walker.currentNode.data.slice(0, 40);
    if (ratio < (large ? 3 : 4.5)) bad.push(`${ratio.toFixed(2)} ${element.className} ${text}`);
  }
  return bad;
}"""

_UNNAMED = """() => {
  const named = (e) => e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length
    || e.getAttribute("title")
    || (e.getAttribute("aria-labelledby") && document.getElementById(e.getAttribute("aria-labelledby")));
  const kinds = "button, a[href], input, select, textarea, dialog, progress, pre[tabindex]";
  const controls = [...document.querySelectorAll(kinds)];
  const found = controls.filter((e) => !named(e)).map((e) => e.outerHTML.slice(0, 120));
  const images = [...document.querySelectorAll("img:not([alt])")].map((e) => e.outerHTML);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
  const inner = [...document.querySelectorAll("a button, button a, button button, a a")].map((e) => e.outerHTML);
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((e) => Number(e.tagName[1]));
  const jumps = levels.filter((level, i) => i && level > levels[i - 1] + 1).map((level) => `h${level} after a jump`);
  const marks = document.querySelectorAll("main").length === 1 ? [] : ["not one main"];
  return [...found, ...images, ...twice, ...inner, ...jumps, ...marks];
}"""

_TOO_WIDE = """() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) return [];
  return [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > wide + 1)
    .map((e) => e.outerHTML.slice(0, 100));
}"""


async def too_faint(page: Page) -> list[str]:
    """Texts whose contrast to what is under them is too low."""
    return list(await page.evaluate(_CONTRAST))


async def unnamed(page: Page) -> list[str]:
    """What those who hear the page could not make sense of: controls without a name, headings that jump, and so on."""
    return list(await page.evaluate(_UNNAMED))


async def too_wide(page: Page) -> list[str]:
    """What makes the page scroll sideways."""
    return list(await page.evaluate(_TOO_WIDE))
