// Draws the figures: each element of class vega from the JSON in <script id="…-spec">, at the width there is.
'use strict';
(() => {
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const gap = 24;

  function theme() {
    const text = dark.matches ? '#e6e8eb' : '#1c1e21';
    const muted = dark.matches ? '#a2a9b2' : '#5b6169';
    const grid = dark.matches ? '#33383f' : '#e6e8ec';
    return {
      background: 'transparent',
      font: 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif',
      view: {stroke: null},
      axis: {labelColor: muted, titleColor: text, gridColor: grid, domainColor: muted, tickColor: muted,
             titleFontWeight: 500, labelFontSize: 11, titleFontSize: 12},
      legend: {labelColor: text, titleColor: muted, labelFontSize: 12, titleFontWeight: 500},
      header: {labelColor: text, labelFontSize: 13, labelFontWeight: 600},
      title: {color: text},
    };
  }

  // Two blues are too dark for dark paper.
  function colored(spec) {
    const text = JSON.stringify(spec);
    return JSON.parse(dark.matches ? text.replaceAll('#0072B2', '#3f9fe0').replaceAll('#56B4E9', '#a5dcf8') : text);
  }

  // The names of a facet's panels, counted in the data.
  function panelsOf(spec) {
    return (spec.facet.sort || []).length || 1;
  }

  // Every legend of groups gets as many columns as fit, every axis of names 0.6 of the width at most.
  function fitNames(node, columns) {
    if (Array.isArray(node)) return node.forEach((child) => fitNames(child, columns));
    if (node === null || typeof node !== 'object') return;
    if (node.legend && node.scale && Array.isArray(node.scale.domain)) {
      const longest = Math.max(...node.scale.domain.map((name) => String(name).length), 1);
      const fitting = Math.floor(columns / (34 + 6.8 * longest));
      node.legend.columns = node.legend.columns || Math.max(1, Math.min(node.scale.domain.length, fitting));
      node.legend.labelLimit = Math.max(80, columns - 60);
    }
    if (node.axis && node.axis.labelLimit) node.axis.labelLimit = Math.min(node.axis.labelLimit, columns * 0.6);
    Object.values(node).forEach((child) => fitNames(child, columns));
  }

  function fitted(spec, width) {
    const copy = colored(spec);
    fitNames(copy, width - 40);
    if (!copy.facet) {
      const widest = (copy.usermeta && copy.usermeta.widest) || Infinity;
      copy.width = Math.max(180, Math.min(width - 46, widest));
      copy.autosize = {type: 'fit-x', contains: 'padding'};
      return copy;
    }
    const own = copy.resolve && copy.resolve.scale && copy.resolve.scale.y === 'independent' ? 44 : 0;
    const most = Math.max(1, Math.min(panelsOf(copy), Math.floor((width - 60) / 250)));
    const columns = Math.ceil(panelsOf(copy) / Math.ceil(panelsOf(copy) / most));  // rows alike
    copy.columns = columns;
    copy.spacing = gap;
    copy.spec.width = Math.max(140, Math.floor((width - 84 - columns * own - (columns - 1) * gap) / columns));
    copy.facet.header = {labelLimit: copy.spec.width};
    // A panel on its own line is not made as wide as the page.
    if (panelsOf(copy) === 1) copy.spec.width = Math.min(copy.spec.width, 640);
    return copy;
  }

  async function draw(element) {
    const spec = JSON.parse(document.getElementById(element.id + '-spec').textContent);
    const width = element.clientWidth;
    element.dataset.width = width;
    if (element.view) element.view.finalize();
    const result = await vegaEmbed(element, fitted(spec, width), {
      config: theme(),
      renderer: 'svg',
      actions: {export: {svg: true, png: true}, source: false, compiled: false, editor: false},
      downloadFileName: element.id.replace('plot-', ''),
      i18n: {SVG_ACTION: 'Save as SVG', PNG_ACTION: 'Save as PNG', CLICK_TO_VIEW_ACTIONS: 'Save this figure'},
      tooltip: {theme: dark.matches ? 'dark' : 'light'},
    });
    element.view = result;
  }

  async function drawAll() {
    for (const element of document.querySelectorAll('.vega')) {
      try {
        await draw(element);
      } catch (error) {
        element.textContent = 'This figure could not be drawn: ' + error.message;
        console.error(element.id, error);
      }
    }
    document.documentElement.dataset.figures = 'drawn';
  }

  let waiting = 0;
  window.addEventListener('resize', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const changed = [...document.querySelectorAll('.vega')].some((e) => Number(e.dataset.width) !== e.clientWidth);
      if (changed) drawAll();
    }, 200);
  });
  dark.addEventListener('change', drawAll);
  drawAll();
})();
