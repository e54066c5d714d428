// The built library in a browser: examples/embed.ts runs in headless Chromium as it does in Node.

import { transformSync } from 'esbuild';
import { servePage } from '../guest/page-server.ts';
import { needing } from '../media/qemu.ts';
import { Browser, CHROMIUM } from '../run/browser.ts';
import { read } from '../run/sources.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('embed: browser');
const browserTest = needing(test, [CHROMIUM], 'chromium');

const PAGE = `<!doctype html>
<link rel="icon" href="data:,">
<script type="importmap">{ "imports": { "backplane/embed": "/dist/embed.js" } }</script>
<script type="module" src="/example.js"></script>`;

/** What README.md says that the example prints. */
const [, output = ''] = /Its output:\n\n```\n([^`]*)```/.exec(read('README.md')) ?? [];

browserTest('EMB-62 a controller reads a sector by DMA in a page', async () => {
  const { code } = transformSync(read('examples/embed.ts'), {
    loader: 'ts',
    format: 'esm',
    target: 'es2022',
  });
  const pages = new Map([
    ['/example.html', PAGE],
    ['/example.js', code],
  ]);
  const server = await servePage({ unavailable: 'nothing is booted here' }, 0, pages);
  const page = await Browser.open();
  try {
    await page.goTo(`${server.origin}/example.html`);
    const lines = output.trimEnd().split('\n');
    for (let i = 0; i < 100 && page.console.length < lines.length; i++) await page.evaluate('1');
    assert.match(output, /hello from sector 0 - findings: 0/);
    assert.equal(page.console, lines);
  } finally {
    await page.close();
    server.close();
  }
});
