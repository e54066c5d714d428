// Windows (sections 13.4 and 13.5 of the specification): where they end, what is carried over, which page of the copy
// buffer a piece gets.

import { Random } from '../../src/kernel/index.ts';
import {
  COPYBUF_TAG,
  DDI_DMA_MAPPED,
  DDI_DMA_NOMAPPING,
  DDI_DMA_PARTIAL_MAP,
  DDI_DMA_READ,
  DDI_DMA_TOOBIG,
  DDI_FAILURE,
  DdiDmaCookie,
  Pointer,
} from '../../src/solaris/index.ts';
import { assertBug } from '../kernel/help.ts';
import { assert, suite } from '../run/suite.ts';
import {
  apart,
  bind,
  bindPartial,
  getwin,
  high,
  type Rig,
  type RigOptions,
  rig,
  run,
  windows,
} from './dma-rig.ts';

const test = suite('solaris dma windows');

const A = 0x10000000;
const CAP2 = { dmaCopyBufferBytes: 0x2000 };

/** Binds with DDI_DMA_PARTIAL, in windows; all of them. */
async function partial(of: RigOptions): Promise<string[]> {
  const r = await rig(of);
  assert.is(bindPartial(r), DDI_DMA_PARTIAL_MAP);
  return windows(r);
}

test('EX-10 WIN-01 one cookie a window, direct or bounced, and TOOBIG without PARTIAL', async () => {
  const attr = { sgllen: 1 };
  assert.equal(await partial({ pages: apart(A, 3), attr }), [
    '0x0,0x1000: 0x10000000/0x1000',
    '0x1000,0x1000: 0x10002000/0x1000',
    '0x2000,0x1000: 0x10004000/0x1000',
  ]);
  assert.is(bind(await rig({ pages: apart(A, 3), attr })), DDI_DMA_TOOBIG);
  assert.equal(await partial({ pages: high(3), attr }), [
    '0x0,0x1000: CB0/0x1000',
    '0x1000,0x1000: CB1/0x1000',
    '0x2000,0x1000: CB2/0x1000',
  ]);
});

test('EX-11 WIN-03 nothing can be carried over when a window has one cookie', async () => {
  const pages = apart(A, 3);
  const r = await rig({ pages, offset: 0x100, length: 0x2000, attr: { sgllen: 1, granular: 512 } });
  assert.is(bindPartial(r), DDI_DMA_NOMAPPING);
  assert.is(r.handle.binding, null);
});

test('WIN-03 BIND-17 the copy buffer is given back', async () => {
  const attr = { sgllen: 1, granular: 512 };
  const r = await rig({ pages: high(3), offset: 0x100, length: 0x2000, attr });
  assert.is(bindPartial(r), DDI_DMA_NOMAPPING);
  assert.is(r.solaris.kernel.allocator.usage().get(COPYBUF_TAG), undefined);
});

test('EX-12 WIN-01 a list boundary does not begin with the copy buffer again', async () => {
  assert.equal(await partial({ pages: high(4), attr: { sgllen: 2 } }), [
    '0x0,0x2000: CB0/0x1000 CB1/0x1000',
    '0x2000,0x2000: CB2/0x1000 CB3/0x1000',
  ]);
});

test('EX-13 WIN-01 a copy-buffer boundary does', async () => {
  assert.equal(await partial({ pages: high(5), options: CAP2 }), [
    '0x0,0x2000: CB0/0x1000 CB1/0x1000',
    '0x2000,0x2000: CB0/0x1000 CB1/0x1000',
    '0x4000,0x1000: CB0/0x1000',
  ]);
});

test('EX-14 WIN-02 WIN-04 a bounced piece that is split has two pages of the copy buffer', async () => {
  const of = { pages: high(5), offset: 0x100, length: 0x4000, attr: { granular: 512 }, options: CAP2 };
  assert.equal(await partial(of), [
    '0x0,0x1e00: CB0+0x100/0xf00 CB1/0xf00',
    '0x1e00,0x1000: CB0+0xf00/0x100 CB1/0xf00',
    '0x2e00,0x1000: CB0+0xf00/0x100 CB1/0xf00',
    '0x3e00,0x200: CB0+0xf00/0x100 CB1/0x100',
  ]);
});

test('EX-15 WIN-06 HDL-03 windows of maxxfer, rounded down to the granularity', async () => {
  const attr = { maxxfer: 0x2b00, granular: 512 };
  assert.equal(await partial({ pages: run(A, 8), attr }), [
    '0x0,0x2a00: 0x10000000/0x2000 0x10002000/0xa00',
    '0x2a00,0x2a00: 0x10002a00/0x1600 0x10004000/0x1400',
    '0x5400,0x2a00: 0x10005400/0xc00 0x10006000/0x1e00',
    '0x7e00,0x200: 0x10007e00/0x200',
  ]);
});

test('EX-16 WIN-02 trimming costs a place of the list in every later window', async () => {
  const attr = { sgllen: 2, granular: 512 };
  assert.equal(await partial({ pages: apart(A, 6), offset: 0x100, length: 0x5000, attr }), [
    '0x0,0x1e00: 0x10000100/0xf00 0x10002000/0xf00',
    '0x1e00,0x1000: 0x10002f00/0x100 0x10004000/0xf00',
    '0x2e00,0x1000: 0x10004f00/0x100 0x10006000/0xf00',
    '0x3e00,0x1000: 0x10006f00/0x100 0x10008000/0xf00',
    '0x4e00,0x200: 0x10008f00/0x100 0x1000a000/0x100',
  ]);
});

test('WIN-05 after a trim the window is cut to maxxfer, and the rest has a window of the right length', async () => {
  // 0xf00 + 0x1000 are trimmed to 0x1e00; what is carried over and the next two pages exceed 0x2000 bytes.
  const pages = [A, A + 0x2000, A + 0x4000, A + 0x5000];
  const attr = { sgllen: 2, granular: 512, maxxfer: 0x2000 };
  assert.equal(await partial({ pages, offset: 0x100, length: 0x3f00, attr }), [
    '0x0,0x1e00: 0x10000100/0xf00 0x10002000/0xf00',
    '0x1e00,0x2000: 0x10002f00/0x100 0x10004000/0x1f00',
    '0x3e00,0x100: 0x10005f00/0x100',
  ]);
});

test('WIN-06 a bounced page that is split at maxxfer keeps its page of the copy buffer', async () => {
  assert.equal(await partial({ pages: high(3), attr: { maxxfer: 0x1800, granular: 512 } }), [
    '0x0,0x1800: CB0/0x1000 CB1/0x800',
    '0x1800,0x1800: CB1+0x800/0x800 CB2/0x1000',
  ]);
});

test('WIN-07 WIN-06 an object that ends with a window has no window after it', async () => {
  assert.equal(await partial({ pages: run(A, 4), attr: { maxxfer: 0x2000 } }), [
    '0x0,0x2000: 0x10000000/0x2000',
    '0x2000,0x2000: 0x10002000/0x2000',
  ]);
});

test('WIN-08 with granular 1 nothing is trimmed', async () => {
  assert.equal(await partial({ pages: apart(A, 3), offset: 0x123, attr: { sgllen: 2 } }), [
    '0x0,0x1edd: 0x10000123/0xedd 0x10002000/0x1000',
    '0x1edd,0x1000: 0x10004000/0x1000',
  ]);
});

test('WIN-09 WIN-08 random memory: windows tile the object, none exceeds the limits', async () => {
  const random = new Random(7);
  for (let round = 0; round < 150; round++) {
    const pages = run(A, 24).concat(high(24));
    const picked = Array.from({ length: 3 + random.below(20) }, () => pages[random.below(48)] ?? A);
    const granular = 2 ** random.below(13);
    const sgllen = 1 + random.below(6);
    const maxxfer = 4096 + random.below(0x4000);
    const offset = random.below(4096);
    const attr = { granular, sgllen, maxxfer, count_max: 0xfff + random.below(0x4000) };
    const r = await rig({
      pages: [...new Set(picked)],
      offset,
      attr,
      options: { dmaCopyBufferBytes: 0x3000 },
    });
    const code = bindPartial(r);
    if (code < 0) assert.is(code, DDI_DMA_NOMAPPING);
    else checkWindows(r, granular, sgllen, maxxfer - (maxxfer % granular));
  }
});

/** Every byte of the object is in one window, in order, at its own place or in the copy buffer, in one slot a window. */
function checkWindows(r: Rig, granular: number, sgllen: number, most: number): void {
  const list = r.handle.binding?.windows ?? [];
  let at = 0;
  list.forEach((window, i) => {
    assert.is(window.offset, at);
    assert.ok(window.runs.length <= sgllen && window.bytes <= most);
    if (i < list.length - 1) assert.is(window.bytes % granular, 0);
    const slots = window.runs.filter(({ slot }) => slot >= 0).map(({ slot }) => slot);
    assert.is(new Set(slots).size, slots.length);
    for (const { phys, bytes } of window.runs) {
      const place = r.buf.b_un.b_addr + at;
      assert.is(phys, (r.pages[Math.floor(place / 4096)]?.phys ?? 0) + (place % 4096));
      at += bytes;
    }
  });
  assert.is(at, r.buf.b_bcount);
}

test('BIND-12 BIND-16 BIND-17 TOOBIG leaves the handle unbound and no copy buffer, and is logged once', async () => {
  const r = await rig({ pages: high(3), attr: { sgllen: 2 } });
  assert.is(bind(r), DDI_DMA_TOOBIG);
  assert.is(bind(r), DDI_DMA_TOOBIG);
  assert.is(r.solaris.kernel.allocator.usage().get(COPYBUF_TAG), undefined);
  const warnings = r.solaris.kernel.warnings.all.filter(({ rule }) => rule === 'BIND-12');
  assert.equal(
    warnings.map(({ where, count }) => [where, count]),
    [['test', 2]],
  );
  assert.is(bindPartial(r), DDI_DMA_PARTIAL_MAP);
});

test('WIN-20 numwin fails unless windows were needed', async () => {
  const r = await rig({ pages: high(2) });
  const nwin = new Pointer<number>();
  assert.is(r.solaris.ddi_dma_numwin(r.handle, nwin), DDI_FAILURE);
  assert.is(bindPartial(r), DDI_DMA_MAPPED);
  assert.is(r.solaris.ddi_dma_numwin(r.handle, nwin), DDI_FAILURE);
});

test('WIN-21 a window that is not there changes and copies nothing', async () => {
  const r = await rig({ pages: high(2), attr: { sgllen: 1 }, read: true });
  r.memory.fill(r.pages[0]?.phys ?? 0, 1, 4096);
  assert.is(bindPartial(r, DDI_DMA_READ), DDI_DMA_PARTIAL_MAP);
  r.memory.fill(r.handle.binding?.copies[0]?.phys ?? 0, 2, 4096);
  assert.is(getwin(r, 2), null);
  assert.is(r.memory.read8(r.pages[0]?.phys ?? 0), 1);
  assert.is(r.handle.binding?.current, 0);
});

test('WIN-22 getwin(0) works after a bounced binding, not after a direct one', async () => {
  const direct = await rig({ pages: run(A, 1) });
  bindPartial(direct);
  assert.is(getwin(direct, 0), null);
  const bounced = await rig({ pages: high(1) });
  assert.is(bind(bounced), DDI_DMA_MAPPED);
  assert.is(getwin(bounced, 0), '0x0,0x1000: CB0/0x1000');
  assert.is(getwin(bounced, 1), null);
});

test('WIN-24 windows in any order, and again', async () => {
  const r = await rig({ pages: apart(A, 3), attr: { sgllen: 1 } });
  bindPartial(r);
  const [first, second, third] = windows(r);
  assert.equal([getwin(r, 2), getwin(r, 0), getwin(r, 0), getwin(r, 1)], [third, first, first, second]);
});

test('CKI-01 nextcookie gives the second cookie first, again after getwin, and panics behind the last', async () => {
  const r = await rig({ pages: apart(A, 4), attr: { sgllen: 2 } });
  bindPartial(r);
  const cookie = new DdiDmaCookie();
  const next = (): number => {
    r.solaris.ddi_dma_nextcookie(r.handle, cookie);
    return cookie.dmac_laddress;
  };
  assert.is(next(), A + 0x2000);
  assertBug('CKI-01', next);
  getwin(r, 1);
  assertBug('CKI-01', next); // getwin() of the rig has read them all
  const [offp, lenp] = [new Pointer<number>(), new Pointer<number>()];
  r.solaris.ddi_dma_getwin(r.handle, 1, offp, lenp, null, null);
  assert.is(next(), A + 0x6000);
});

test('CKI-02 the functions that change nothing see the current window', async () => {
  const r = await rig({ pages: apart(A, 3), attr: { sgllen: 2 } });
  const { ddi_dma_ncookies, ddi_dma_cookie_iter, ddi_dma_cookie_get, ddi_dma_cookie_one } = r.solaris;
  bindPartial(r);
  assert.is(ddi_dma_ncookies(r.handle), 2);
  const first = ddi_dma_cookie_iter(r.handle, null);
  const second = ddi_dma_cookie_iter(r.handle, first);
  assert.equal([first?.dmac_laddress, second?.dmac_laddress], [A, A + 0x2000]);
  assert.is(ddi_dma_cookie_iter(r.handle, second), null);
  assert.equal([ddi_dma_cookie_get(r.handle, 1), ddi_dma_cookie_get(r.handle, 2)], [second, null]);
  assertBug('CKI-02', () => ddi_dma_cookie_one(r.handle));
  const next = new DdiDmaCookie();
  r.solaris.ddi_dma_nextcookie(r.handle, next);
  assert.is(next.dmac_laddress, A + 0x2000);
  // They do not move with it, and it did not move with them.
  assert.equal([ddi_dma_cookie_iter(r.handle, null), ddi_dma_cookie_get(r.handle, 1)], [first, second]);
  assert.is(ddi_dma_ncookies(r.handle), 2);
  assertBug('CKI-01', () => r.solaris.ddi_dma_nextcookie(r.handle, next));
  getwin(r, 1);
  assert.is(ddi_dma_cookie_one(r.handle).dmac_laddress, A + 0x4000);
  assertBug('CKI-03', () => ddi_dma_cookie_iter(r.handle, first));
});

test('CKI-03 cookies end with the binding', async () => {
  const r = await rig({ pages: run(A, 1) });
  bind(r);
  r.solaris.ddi_dma_unbind_handle(r.handle);
  assertBug('CKI-03', () => r.solaris.ddi_dma_ncookies(r.handle));
});
