// Which memory bounces, and the cookies of the whole object (sections 13.1 to 13.3 of the specification).

import {
  _DDI_DMA_BOUNCE_ON_SEG,
  COPYBUF_TAG,
  DDI_DMA_DONTWAIT,
  DDI_DMA_MAPPED,
  DDI_DMA_PARTIAL,
  DDI_DMA_PARTIAL_MAP,
  DDI_DMA_TOOBIG,
  DDI_DMA_WRITE,
  DdiDmaCookie,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import {
  apart,
  bindCookies,
  GIB4,
  getwin,
  high,
  NO_LIMIT,
  now,
  type RigOptions,
  rig,
  run,
} from './dma-rig.ts';

const test = suite('solaris dma cookies');

/** Binds whole; the cookies. */
async function mapped(of: RigOptions): Promise<string> {
  const { code, cookies } = bindCookies(await rig(of));
  assert.is(code, DDI_DMA_MAPPED);
  return cookies;
}

const A = 0x10000000;

test('EX-1 CKE-03 a cookie that has reached its longest closes', async () => {
  const pages = run(A, 8);
  const cookies = await mapped({ pages, attr: { count_max: 0x3fff } });
  assert.is(cookies, '0x10000000/0x4000 0x10004000/0x4000');
});

test('EX-2 a first piece that begins inside its page makes a shorter cookie', async () => {
  const pages = run(A, 8);
  const cookies = await mapped({ pages, offset: 0x200, length: 0x7e00, attr: { count_max: 0x3fff } });
  assert.is(cookies, '0x10000200/0x3e00 0x10004000/0x4000');
});

test('EX-3 CKE-01 a piece on a segment boundary opens a cookie', async () => {
  const cookies = await mapped({ pages: run(0x1000e000, 6), attr: { seg: 0xffff } });
  assert.is(cookies, '0x1000e000/0x2000 0x10010000/0x4000');
});

test('EX-4 segments of 16 KiB', async () => {
  const pages = run(0x10001000, 8);
  const cookies = await mapped({ pages, offset: 0x200, length: 0x7000, attr: { seg: 0x3fff } });
  assert.is(cookies, '0x10001200/0x2e00 0x10004000/0x4000 0x10008000/0x200');
});

test('EX-5 a segment boundary at 4 GiB, where nothing bounces', async () => {
  const pages = [0xffffe000, 0xfffff000, GIB4];
  const cookies = await mapped({ pages, attr: { addr_hi: NO_LIMIT } });
  assert.is(cookies, '0xffffe000/0x2000 0x100000000/0x1000');
});

test('EX-17 BNC-02 the page that ends at addr_hi bounces', async () => {
  const cookies = await mapped({ pages: [0xffffe000, 0xfffff000] });
  assert.is(cookies, '0xffffe000/0x1000 CB0/0x1000');
});

test('BNC-02 BNC-01 only bytes that are used count', async () => {
  const cookies = await mapped({ pages: [0xfffff000], length: 0xfff });
  assert.is(cookies, '0xfffff000/0xfff');
});

test('BNC-01 below addr_lo a piece bounces as well', async () => {
  const cookies = await mapped({ pages: run(0x10000000, 2), attr: { addr_lo: 0x2000, addr_hi: 0x10001800 } });
  assert.is(cookies, '0x10000000/0x1000 CB0/0x1000');
  const low = await rig({ pages: [0x1000], attr: { addr_lo: 0x2000 } });
  assert.is(bindCookies(low).cookies, 'CB0/0x1000');
  assert.is(await mapped({ pages: [0x2000], attr: { addr_lo: 0x2000 } }), '0x2000/0x1000');
});

test('EX-18 BNC-03 BNC-07 CKE-02 pages bounce one by one between those that do not', async () => {
  const pages = [0x20000000, 0x20001000, GIB4, 0x20003000, GIB4 + 0x2000];
  const of = { pages, offset: 0x100, attr: { sgllen: 4 } };
  assert.is(await mapped(of), '0x20000100/0x1f00 CB0/0x1000 0x20003000/0x1000 CB1/0x1000');
});

test('BNC-07 the offset in the page is kept', async () => {
  assert.is(await mapped({ pages: high(1), offset: 0x345, length: 0x10 }), 'CB0+0x345/0x10');
});

test('BNC-04 every bounced piece takes a whole page, however few its bytes', async () => {
  const r = await rig({ pages: high(3), offset: 0xfff, length: 0x1002 });
  assert.is(bindCookies(r).cookies, 'CB0+0xfff/0x1 CB1/0x1000 CB2/0x1');
  assert.is(r.solaris.kernel.allocator.usage().get(COPYBUF_TAG), 3);
});

test('BNC-05 bounce-on-seg: memory on both sides of the boundary bounces above it', async () => {
  const attr = { addr_hi: NO_LIMIT, flags: _DDI_DMA_BOUNCE_ON_SEG };
  const pages = [0xffffd000, 0xffffe000, GIB4];
  assert.is(await mapped({ pages, attr }), '0xffffd000/0x2000 CB0/0x1000');
  assert.is(await mapped({ pages: [GIB4, GIB4 + 0x1000], attr }), '0x100000000/0x2000');
  // A later piece at the boundary itself counts as both sides, the first one does not.
  assert.is(await mapped({ pages: [GIB4 + 0x2000, GIB4], attr }), 'CB0/0x1000 CB1/0x1000');
  assert.is(await mapped({ pages: [GIB4, GIB4 + 0x2000], attr }), '0x100000000/0x1000 0x100002000/0x1000');
});

test('BNC-06 misaligned, discontiguous, short-segmented memory in reach does not bounce', async () => {
  const pages = apart(A, 3);
  const attr = { align: 4096, sgllen: 3, seg: 0xfff, count_max: 0xfff };
  const cookies = await mapped({ pages, offset: 1, attr });
  assert.is(cookies, '0x10000001/0xfff 0x10002000/0x1000 0x10004000/0x1000');
});

test('CKE-02 bounced pieces are cookies of their own, even side by side', async () => {
  const r = await rig({ pages: run(GIB4, 3) });
  assert.is(bindCookies(r).cookies, 'CB0/0x1000 CB1/0x1000 CB2/0x1000');
  const [first, second] = r.handle.binding?.copies ?? [];
  assert.is((second?.phys ?? 0) - (first?.phys ?? 0), 0x1000); // they could have been merged
});

test('CKE-02 what follows a bounced piece begins a cookie, even next to it in memory', async () => {
  const r = await rig({ pages: [0x20000000, 0x1000, 0x2000], attr: { addr_lo: 0x2000 } });
  for (const page of r.pages.slice(1)) r.solaris.kernel.allocator.withdraw(page); // not for the copy buffer
  assert.is(bindCookies(r).cookies, '0x20000000/0x1000 CB0/0x1000 0x2000/0x1000');
});

test('CKI-01 a cookie is filled in whole, whatever was in it', async () => {
  const r = await rig({ pages: apart(A, 2) });
  const cookie = Object.assign(new DdiDmaCookie(), { dmac_laddress: 1, dmac_size: 2, dmac_type: 3 });
  const { ddi_dma_buf_bind_handle, ddi_dma_nextcookie } = r.solaris;
  now(
    r.solaris,
    ddi_dma_buf_bind_handle(r.handle, r.buf, DDI_DMA_WRITE, DDI_DMA_DONTWAIT, null, cookie, null),
  );
  assert.equal([cookie.dmac_laddress, cookie.dmac_size, cookie.dmac_type], [A, 0x1000, 0]);
  cookie.dmac_type = 3;
  ddi_dma_nextcookie(r.handle, cookie);
  assert.equal([cookie.dmac_laddress, cookie.dmac_size, cookie.dmac_type], [A + 0x2000, 0x1000, 0]);
});

test('CKE-04 a longest cookie that is no multiple of a page is cut at a page', async () => {
  const pages = run(A, 4);
  const attr = { count_max: 0x17ff };
  assert.is(
    await mapped({ pages, attr }),
    '0x10000000/0x1000 0x10001000/0x1000 0x10002000/0x1000 0x10003000/0x1000',
  );
  const short = await mapped({ pages, offset: 0x800, attr });
  assert.is(short, '0x10000800/0x1800 0x10002000/0x1000 0x10003000/0x1000');
});

test('CKE-05 granular has no part in cookies', async () => {
  assert.is(await mapped({ pages: run(A, 3), offset: 0x10, attr: { granular: 512 } }), '0x10000010/0x2ff0');
});

test('CKE-06 the cookies are the object, in its order', async () => {
  const pages = [A + 0x4000, GIB4, A, A + 0x1000, GIB4 + 0x2000, A + 0x2000];
  const r = await rig({ pages, offset: 0x123, length: 0x5000 });
  bindCookies(r);
  const sizes = r.handle.binding?.cookies.map(({ dmac_size }) => dmac_size) ?? [];
  assert.is(
    sizes.reduce((sum, size) => sum + size, 0),
    0x5000,
  );
  assert.is(r.handle.binding?.cookies[0]?.dmac_laddress, A + 0x4123);
  assert.is(r.handle.binding?.cookies[2]?.dmac_laddress, A);
});

test('BIND-10 fast: PARTIAL is not needed and dropped, a transfer of maxxfer is whole', async () => {
  const r = await rig({ pages: run(A, 2), attr: { maxxfer: 0x2000, sgllen: 1 } });
  const { code, cookies } = bindCookies(r, DDI_DMA_WRITE | DDI_DMA_PARTIAL);
  assert.is(code, DDI_DMA_MAPPED);
  assert.is(cookies, '0x10000000/0x2000');
  assert.ok(r.handle.binding?.fast);
});

test('BIND-11 BIND-13 BIND-14 bouncing alone needs no windows', async () => {
  const r = await rig({ pages: high(4) });
  const { code } = bindCookies(r, DDI_DMA_WRITE | DDI_DMA_PARTIAL);
  assert.is(code, DDI_DMA_MAPPED);
  assert.is(r.handle.binding?.windows.length, 1);
});

for (const [what, attr, options] of [
  ['more copy buffer than there may be', {}, { dmaCopyBufferBytes: 0x2000 }],
  ['more bytes than maxxfer', { maxxfer: 0x2000 }, {}],
  ['more cookies than sgllen', { sgllen: 2 }, {}],
] as const) {
  test(`BIND-11 WIN-10 ${what}: windows, and the outputs are the first one's`, async () => {
    const r = await rig({ pages: high(3), attr, options });
    const { code, cookies } = bindCookies(r, DDI_DMA_WRITE | DDI_DMA_PARTIAL);
    assert.is(code, DDI_DMA_PARTIAL_MAP);
    assert.is(cookies, 'CB0/0x1000 CB1/0x1000');
  });
}

test('BIND-11 the copy buffer of a mapping is 1 MiB and a page at most', async () => {
  const r = await rig({ pages: high(258) });
  assert.is(bindCookies(r).code, DDI_DMA_TOOBIG);
  assert.is(bindCookies(r, DDI_DMA_WRITE | DDI_DMA_PARTIAL).code, DDI_DMA_PARTIAL_MAP);
  assert.is(r.solaris.kernel.allocator.usage().get(COPYBUF_TAG), 257);
  assert.is(r.handle.binding?.cookies.length, 257);
  assert.is(getwin(r, 1), '0x101000,0x1000: CB0/0x1000');
});
