// examples/v86.html in headless Chromium: a person starts a machine, types, and has a file system on the disk.

import { needing } from '../media/qemu.ts';
import { Browser, CHROMIUM } from '../run/browser.ts';
import { assert, suite } from '../run/suite.ts';
import { PAGE, type PageGuest, preparePage, servePage } from './page-server.ts';

const test = suite('v86 page');
const browserTest = needing(test, [CHROMIUM], 'chromium');
const guest = preparePage({ download: false });
const guestTest = 'unavailable' in guest ? (name: string) => test.skip(name, guest.unavailable) : browserTest;
/** A loaded machine takes a minute for what otherwise takes seconds; the runner waits two for a sign of life. */
const BOOT_MS = 115_000;
const SCREEN = "document.querySelector('#terminal pre').textContent";
const TAB = 9;

interface Visit {
  readonly page: Browser;
  close(): Promise<void>;
}

/** The machine that was booted, for the tests behind that one. */
let booted: Visit | undefined;
test.after(async () => booted?.close());

/** The page in a browser of its own, with what `served` has to boot. */
async function visit(query: string, served: PageGuest): Promise<Visit> {
  const server = await servePage(served, 0);
  const page = await Browser.open();
  const close = async (): Promise<void> => {
    await page.close();
    server.close();
  };
  try {
    await page.goTo(`${server.origin}${PAGE}${query}`);
  } catch (error) {
    await close();
    throw error;
  }
  return { page, close };
}

async function start(page: Browser): Promise<void> {
  await page.until("!document.querySelector('#start').disabled");
  await page.evaluate("document.querySelector('#start').click()");
}

/** What the list beside the console says behind a name. */
function state(name: string): string {
  return `[...document.querySelectorAll('dt')].find((dt) => dt.textContent === '${name}').nextSibling.textContent`;
}

guestTest('boots to a shell, in which the disk is formatted, mounted and written', async () => {
  booted = await visit('?controller=virtio-blk', guest);
  const { page } = booted;
  await start(page);
  await page.until(`/Linux 6\\..* driver virtio_blk[^]* # +$/.test(${SCREEN})`, BOOT_MS);
  await page.type('mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && mount | grep /mnt\n');
  await page.until(`/\\n.dev.vda on .mnt type ext4/.test(${SCREEN})`);
  const before = Number(await page.evaluate(state('Commands')));
  await page.type(
    'echo what was typed > /mnt/file; sync; echo 3 > /proc/sys/vm/drop_caches; cat /mnt/file\n',
  );
  await page.until(`/\\nwhat was typed\\n/.test(${SCREEN})`);
  await page.until(`Number(${state('Commands')}) > ${before}`);
  assert.is(await page.evaluate(state('Profile')), 'virtio-blk');
  assert.ok(Number(await page.evaluate(state('Interrupts'))) > 0);
  assert.match(String(await page.evaluate(state('Into memory'))), /^[\d.,]+ (?:KiB|MiB)$/);
  assert.is(await page.evaluate("document.querySelectorAll('#findings li').length"), 0);
  const fits = '(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)';
  assert.is(await page.evaluate(`${fits}(document.querySelector('#terminal pre'))`), true);
});

guestTest('the console does not hold the keyboard, and the disk outlives a reboot', async () => {
  if (booted === undefined) throw new Error('nothing was booted');
  const { page } = booted;
  await page.press('Tab', TAB);
  assert.is(await page.evaluate("document.activeElement.closest('#typed') !== null"), true);
  await page.evaluate("document.querySelector('#terminal textarea').focus()");
  await page.type('umount /mnt; reboot -f\n');
  await page.until("/^Booting again/.test(document.querySelector('#status').textContent)");
  await page.until("/^Running/.test(document.querySelector('#status').textContent)", BOOT_MS);
  await page.until(`/ # +$/.test(${SCREEN})`);
  await page.type('clear; mount -t ext4 /dev/vda /mnt; cat /mnt/file\n');
  await page.until(`/\\nwhat was typed\\n[^]* # +$/.test(${SCREEN}.split('BusyBox').at(-1))`);
  await page.evaluate("document.querySelector('#stop').click()");
  await page.until("document.querySelector('#status').textContent === 'Stopped'");
  assert.equal(page.console, []);
});

guestTest('shows what the guard finds on a board that is narrower than it claims', async () => {
  const { page, close } = await visit('?controller=ahci&profile=ahci-26lines', guest);
  try {
    await start(page);
    assert.match(String(await page.evaluate("document.querySelector('#about').textContent")), /64 MiB of it/);
    await page.until("document.querySelectorAll('#findings li').length > 0", BOOT_MS);
    const finding = String(await page.evaluate("document.querySelector('#findings li').textContent"));
    assert.match(finding, /^ahci\.0 meant 0x[\da-f]+ but drives too few address lines/);
  } finally {
    await close();
  }
});

browserTest('says what is missing where there is nothing to boot', async () => {
  const unavailable = 'apt-get is not here: install it';
  const { page, close } = await visit('', { unavailable });
  try {
    await page.until("!document.querySelector('#problem').hidden");
    assert.is(await page.evaluate("document.querySelector('#problem').textContent"), unavailable);
    assert.is(await page.evaluate("document.querySelector('#start').disabled"), true);
  } finally {
    await close();
  }
});

test('the server gives out nothing but the page and what it needs', async () => {
  const server = await servePage({ unavailable: 'nothing' }, 0);
  const status = async (path: string): Promise<number> => (await fetch(server.origin + path)).status;
  try {
    assert.is(await status('/'), 200);
    assert.is(await status('/dist/embed.js'), 200);
    for (const path of ['/package.json', '/dist/../package.json', '/dist/%2e%2e/package.json', '/dist/'])
      assert.is(await status(path), 404, path);
  } finally {
    server.close();
  }
});
