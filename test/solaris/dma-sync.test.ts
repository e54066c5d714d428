// Which bytes are copied when (section 14 of the specification, and what ddi_dma_getwin() copies), on real memory.

import { PAGE_SIZE, VM_READ } from '../../src/kernel/index.ts';
import {
  COPYBUF_TAG,
  DDI_DMA_CONSISTENT,
  DDI_DMA_DONTWAIT,
  DDI_DMA_EXCLUSIVE,
  DDI_DMA_MAPPED,
  DDI_DMA_RDWR,
  DDI_DMA_READ,
  DDI_DMA_REDZONE,
  DDI_DMA_STREAMING,
  DDI_DMA_SYNC_FORCPU,
  DDI_DMA_SYNC_FORDEV,
  DDI_DMA_SYNC_FORKERNEL,
  DDI_DMA_WRITE,
  DDI_FAILURE,
  DDI_SUCCESS,
  DDI_UMEMLOCK_READ,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { bind, bindPartial, getwin, high, type Rig, rig, run } from './dma-rig.ts';
import { assertBug, BASE, filled, locked, peek } from './help.ts';

const test = suite('solaris dma sync');

const A = 0x10000000;

/** The byte at an offset of the object, in memory. */
const inMemory = (r: Rig, offset: number): number =>
  r.memory.read8((r.pages[Math.floor(offset / 4096)]?.phys ?? 0) + (offset % 4096));

/** Physical address of a page of the copy buffer. */
const copyAt = (r: Rig, slot: number): number => r.handle.binding?.copies[slot]?.phys ?? 0;

const inCopy = (r: Rig, slot: number, offset = 0): number => r.memory.read8(copyAt(r, slot) + offset);

const sync = (r: Rig, off: number, len: number, type: number): number =>
  r.solaris.ddi_dma_sync(r.handle, off, len, type);

/** Page i of the object is filled with `first` + i. */
function fillPages(r: Rig, first: number): void {
  r.pages.forEach(({ phys }, i) => {
    r.memory.fill(phys, first + i, 4096);
  });
}

test('SYNC-01 a direct mapping: success whatever the arguments, nothing is copied', async () => {
  const r = await rig({ pages: run(A, 2) });
  fillPages(r, 1);
  bind(r);
  assert.is(sync(r, 99999, 99999, 77), DDI_SUCCESS);
  assert.is(sync(r, 0, 0, DDI_DMA_SYNC_FORCPU), DDI_SUCCESS);
  assert.is(inMemory(r, 0), 1);
});

test('SYNC-02 a window without bounced pages: success, no check', async () => {
  const r = await rig({ pages: [A, high(1)[0] ?? 0], attr: { sgllen: 1 } });
  bindPartial(r);
  assert.is(sync(r, 99999, 1, 77), DDI_SUCCESS);
  getwin(r, 1);
  assert.is(sync(r, 99999, 1, DDI_DMA_SYNC_FORDEV), DDI_FAILURE);
});

test('SYNC-03 the offset is the object’s, 0 is the current window’s beginning, length 0 its end', async () => {
  const r = await rig({ pages: high(4), attr: { sgllen: 2 } });
  fillPages(r, 1);
  bindPartial(r);
  getwin(r, 1);
  fillPages(r, 11);
  assert.is(sync(r, 0, 16, DDI_DMA_SYNC_FORDEV), DDI_SUCCESS);
  assert.equal([inCopy(r, 2, 0), inCopy(r, 2, 15), inCopy(r, 2, 16)], [13, 13, 3]);
  assert.is(sync(r, 0x3ff0, 0, DDI_DMA_SYNC_FORDEV), DDI_SUCCESS);
  assert.equal([inCopy(r, 3, 0xfef), inCopy(r, 3, 0xff0), inCopy(r, 3, 0xfff)], [4, 14, 14]);
  assert.is(sync(r, 0, 0, DDI_DMA_SYNC_FORDEV), DDI_SUCCESS);
  assert.equal([inCopy(r, 0), inCopy(r, 2), inCopy(r, 2, 99), inCopy(r, 3)], [1, 13, 13, 14]);
});

test('SYNC-04 bytes outside of the current window: failure, nothing is copied', async () => {
  const r = await rig({ pages: high(4), attr: { sgllen: 2 } });
  fillPages(r, 1);
  bindPartial(r);
  getwin(r, 1);
  fillPages(r, 11);
  for (const [off, len] of [
    [0x1000, 0x1000],
    [0x1fff, 2],
    [0x2000, 0x2001],
    [0x4001, 0],
    [-1, 1],
    [0x3000, -1],
  ] as const) {
    assert.is(sync(r, off, len, DDI_DMA_SYNC_FORDEV), DDI_FAILURE);
  }
  assert.equal([inCopy(r, 2), inCopy(r, 3)], [3, 4]);
});

test('SYNC-05 the side that the mapping does not serve: failure, nothing is copied', async () => {
  const write = await rig({ pages: high(1) });
  fillPages(write, 1);
  bind(write);
  write.memory.fill(copyAt(write, 0), 2, 4096);
  for (const type of [DDI_DMA_SYNC_FORCPU, DDI_DMA_SYNC_FORKERNEL, 3])
    assert.is(sync(write, 0, 0, type), DDI_FAILURE);
  assert.is(inMemory(write, 0), 1);
  const read = await rig({ pages: high(1), read: true });
  fillPages(read, 1);
  bind(read, DDI_DMA_READ);
  read.memory.fill(copyAt(read, 0), 2, 4096);
  assert.is(sync(read, 0, 0, DDI_DMA_SYNC_FORDEV), DDI_FAILURE);
  assert.is(inCopy(read, 0), 2);
  const both = await rig({ pages: high(1) });
  bind(both, DDI_DMA_RDWR);
  for (const type of [DDI_DMA_SYNC_FORDEV, DDI_DMA_SYNC_FORCPU, DDI_DMA_SYNC_FORKERNEL])
    assert.is(sync(both, 0, 0, type), DDI_SUCCESS);
});

test('SYNC-06 exactly the bytes of the range, FORCPU and FORKERNEL alike, direct pages untouched', async () => {
  const r = await rig({ pages: [high(1)[0] ?? 0, A, high(2)[1] ?? 0], offset: 0x100, read: true });
  for (const type of [DDI_DMA_SYNC_FORCPU, DDI_DMA_SYNC_FORKERNEL]) {
    fillPages(r, 1);
    bind(r, DDI_DMA_READ);
    r.memory.fill(copyAt(r, 0), 8, 4096);
    r.memory.fill(copyAt(r, 1), 9, 4096);
    assert.is(sync(r, 0xe00, 0x1200, type), DDI_SUCCESS);
    const places = [0xeff, 0xf00, 0xfff, 0x1000, 0x1fff, 0x2000, 0x20ff, 0x2100];
    assert.equal(
      places.map((place) => inMemory(r, place)),
      [1, 8, 8, 2, 2, 9, 9, 3],
    );
    fillPages(r, 1); // what unbinding copies is another matter
    r.solaris.ddi_dma_unbind_handle(r.handle);
  }
});

test('SYNC-07 binding for WRITE fills the copy buffer, for READ it does not', async () => {
  const r = await rig({ pages: high(1), offset: 0x10, length: 0x20 });
  fillPages(r, 5);
  const { allocator } = r.solaris.kernel;
  const [next] = (() => {
    const page = allocator.alloc({ from: 0x2000, below: 2 ** 32 });
    if (page === null) throw new Error('no page');
    r.memory.fill(page.phys, 0xee, 4096);
    allocator.put(page);
    return [page.phys];
  })();
  bind(r, DDI_DMA_READ);
  assert.equal([copyAt(r, 0), inCopy(r, 0, 0x10)], [next, 0xee]); // BIND-15: not initialised either
  r.memory.fill(copyAt(r, 0), 0xee, 4096);
  r.solaris.ddi_dma_unbind_handle(r.handle);
  fillPages(r, 5);
  bind(r, DDI_DMA_WRITE);
  assert.equal(
    [0xf, 0x10, 0x2f, 0x30].map((place) => inCopy(r, 0, place)),
    [0xee, 5, 5, 0xee],
  );
});

test('SYNC-08 UNB-01 unbinding copies back the current window only', async () => {
  const r = await rig({ pages: high(4), attr: { sgllen: 2 }, read: true });
  bindPartial(r, DDI_DMA_READ);
  getwin(r, 1);
  fillPages(r, 1);
  for (let slot = 0; slot < 4; slot++) r.memory.fill(copyAt(r, slot), 11 + slot, 4096);
  assert.is(r.solaris.ddi_dma_unbind_handle(r.handle), DDI_SUCCESS);
  assert.equal(
    [0, 0x1000, 0x2000, 0x3000].map((place) => inMemory(r, place)),
    [1, 2, 13, 14],
  );
  assert.is(r.solaris.kernel.allocator.usage().get(COPYBUF_TAG), undefined);
});

test('SYNC-08 unbinding a WRITE mapping copies nothing', async () => {
  const r = await rig({ pages: high(1) });
  fillPages(r, 1);
  bind(r);
  r.memory.fill(copyAt(r, 0), 2, 4096);
  r.solaris.ddi_dma_unbind_handle(r.handle);
  assert.is(inMemory(r, 0), 1);
});

test('SYNC-09 a short read leaves what the copy buffer held behind it', async () => {
  const r = await rig({ pages: [high(1)[0] ?? 0, A], read: true });
  fillPages(r, 1);
  bind(r, DDI_DMA_READ);
  r.memory.fill(copyAt(r, 0), 0xcc, 4096); // stale
  r.memory.fill(copyAt(r, 0), 7, 512); // the device
  r.solaris.ddi_dma_unbind_handle(r.handle);
  assert.equal(
    [0, 511, 512, 4095, 4096].map((place) => inMemory(r, place)),
    [7, 7, 0xcc, 0xcc, 2],
  );
});

test('SYNC-10 SYNC-11 the two sides of a bounced page see each other after a sync only', async () => {
  const r = await rig({ pages: high(1) });
  fillPages(r, 1);
  bind(r, DDI_DMA_RDWR);
  fillPages(r, 2);
  assert.is(inCopy(r, 0), 1);
  sync(r, 0, 0, DDI_DMA_SYNC_FORDEV);
  assert.is(inCopy(r, 0), 2);
  r.memory.fill(copyAt(r, 0), 3, 4096);
  assert.is(inMemory(r, 0), 2);
  sync(r, 0, 0, DDI_DMA_SYNC_FORCPU);
  assert.is(inMemory(r, 0), 3);
});

test('SYNC-12 copies work in interrupt context', async () => {
  const r = await rig({ pages: high(1) });
  bind(r);
  fillPages(r, 4);
  const { cpu } = r.solaris.kernel;
  cpu.interrupt('test', 5, () => {
    assert.is(sync(r, 0, 0, DDI_DMA_SYNC_FORDEV), DDI_SUCCESS);
    assert.is(inCopy(r, 0), 4);
    assert.is(r.solaris.ddi_dma_unbind_handle(r.handle), DDI_SUCCESS);
    assert.is(bind(r), DDI_DMA_MAPPED);
  });
});

test('SYNC-12 copies go to the pages, in any process and whatever the owner may do with them', async () => {
  const r = await rig({ pages: [], attr: { addr_lo: 0x20000 } });
  const { solaris } = r;
  const { scheduler, vm } = solaris.kernel;
  const low = { below: 0x20000 }; // out of reach
  const as = vm.createSpace(low);
  const user = solaris.kernel.spawnProcess(
    'user',
    function* () {
      yield* filled(solaris, as, 1);
      assert.is(yield* as.mprotect(BASE, PAGE_SIZE, VM_READ), 0);
      const cookie = yield* locked(solaris, 1, DDI_UMEMLOCK_READ);
      const { ddi_dma_addr_bind_handle: byAddress } = solaris;
      const dont = DDI_DMA_DONTWAIT;
      yield* byAddress(r.handle, as, BASE, 512, DDI_DMA_READ, dont, null, null, null);
      r.memory.fill(copyAt(r, 0), 0x77, 512);
      const other = solaris.kernel.spawnProcess('other', function* () {
        return sync(r, 0, 0, DDI_DMA_SYNC_FORCPU);
      });
      assert.is(yield* scheduler.join(other), DDI_SUCCESS);
      assert.equal(yield* peek(solaris, as, BASE, 512), new Uint8Array(512).fill(0x77));
      solaris.ddi_dma_unbind_handle(r.handle);
      solaris.ddi_umem_unlock(cookie);
    },
    { as },
  );
  scheduler.run({ until: user });
  assert.is(user.state, 'dead');
});

test('SYNC-13 CONSISTENT, STREAMING, REDZONE and EXCLUSIVE change nothing', async () => {
  for (const flag of [DDI_DMA_CONSISTENT, DDI_DMA_STREAMING, DDI_DMA_REDZONE, DDI_DMA_EXCLUSIVE]) {
    const r = await rig({ pages: high(1) });
    fillPages(r, 1);
    assert.is(bind(r, DDI_DMA_WRITE | flag), DDI_DMA_MAPPED);
    fillPages(r, 2);
    assert.is(inCopy(r, 0), 1);
  }
});

test('SYNC-06 sync-unmapped a sync of an unbound handle is a bug', async () => {
  const r = await rig({ pages: high(1) });
  assertBug('sync-unmapped', () => sync(r, 0, 0, DDI_DMA_SYNC_FORDEV));
});

test('WIN-23 WIN-25 getwin copies the old window back and the new one out, current or not', async () => {
  const r = await rig({ pages: high(2), attr: { sgllen: 1 } });
  fillPages(r, 1);
  bindPartial(r, DDI_DMA_RDWR);
  r.memory.fill(copyAt(r, 0), 8, 4096);
  r.memory.fill(copyAt(r, 1), 9, 4096);
  getwin(r, 1);
  assert.equal([inMemory(r, 0), inMemory(r, 0x1000), inCopy(r, 0), inCopy(r, 1)], [8, 2, 8, 2]);
  const read = await rig({ pages: high(2), attr: { sgllen: 1 }, read: true });
  fillPages(read, 1);
  bindPartial(read, DDI_DMA_READ);
  read.memory.fill(copyAt(read, 0), 0xcc, 4096);
  getwin(read, 0); // before the device has filled it
  assert.is(inMemory(read, 0), 0xcc);
});

test('WIN-23 the old window is copied back before the new one takes its pages of the copy buffer', async () => {
  const r = await rig({ pages: high(4), options: { dmaCopyBufferBytes: 0x2000 } });
  fillPages(r, 1);
  bindPartial(r, DDI_DMA_RDWR);
  for (const slot of [0, 1]) r.memory.fill(copyAt(r, slot), 8 + slot, 4096); // the device
  getwin(r, 1);
  assert.equal(
    [0, 0x1000, 0x2000, 0x3000].map((place) => inMemory(r, place)),
    [8, 9, 3, 4],
  );
  assert.equal([inCopy(r, 0), inCopy(r, 1)], [3, 4]);
});

test('WIN-26 an earlier window that is left without DMA gets a later one’s bytes from a recycled page', async () => {
  const options = { dmaCopyBufferBytes: 0x2000 };
  const r = await rig({ pages: high(4), options, read: true });
  bindPartial(r, DDI_DMA_READ);
  r.memory.fill(copyAt(r, 0), 1, 4096);
  getwin(r, 1);
  r.memory.fill(copyAt(r, 0), 3, 4096);
  getwin(r, 0);
  assert.equal([inMemory(r, 0), inMemory(r, 0x2000)], [1, 3]);
  r.solaris.ddi_dma_unbind_handle(r.handle);
  assert.equal([inMemory(r, 0), inMemory(r, 0x2000)], [3, 3]);
});

test('WIN-27 after getwin and after unbind the guard lets the device into the new window only', async () => {
  const r = await rig({ pages: [A, A + 0x2000], attr: { sgllen: 1 }, guard: true });
  const live = (): number[] => [...r.solaris.kernel.machine.guard.live].map(({ address }) => address);
  bindPartial(r);
  assert.equal(live(), [A]);
  const [mapping] = r.solaris.kernel.machine.guard.live;
  assert.equal([mapping?.kind, mapping?.access, mapping?.bytes], ['ddi_dma_buf_bind_handle', 'read', 0x1000]);
  getwin(r, 1);
  assert.equal(live(), [A + 0x2000]);
  r.solaris.ddi_dma_unbind_handle(r.handle);
  assert.equal(live(), []);
});

test('SYNC-04 SYNC-05 the guard reports what other platforms would not forgive, on direct memory too', async () => {
  const r = await rig({ pages: [A], guard: true });
  bind(r);
  sync(r, 0, 0, DDI_DMA_SYNC_FORDEV);
  assert.equal(r.solaris.kernel.machine.guard.findings(), []);
  sync(r, 0, 0, DDI_DMA_SYNC_FORCPU);
  sync(r, 0x800, 0x801, DDI_DMA_SYNC_FORDEV);
  assert.equal(
    r.solaris.kernel.machine.guard.findings().map(({ rule }) => rule),
    ['sync-direction', 'sync-range'],
  );
});
