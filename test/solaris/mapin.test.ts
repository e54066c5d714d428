import { PAGE_SIZE } from '../../src/kernel/index.ts';
import {
  B_BUSY,
  B_PAGEIO,
  B_PHYS,
  B_READ,
  B_REMAPPED,
  B_SHADOW,
  type Buf,
  DDI_DMA_DONTWAIT,
  DDI_DMA_MAPPED,
  DDI_DMA_READ,
  DDI_UMEM_SLEEP,
  DevInfo,
  PageListPtr,
  Pointer,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { diskFile, fileByte } from '../kernel/files.ts';
import { assert, suite } from '../run/suite.ts';
import { alloc, attr, NO_LIMIT, now } from './dma-rig.ts';
import {
  aBuf,
  assertBug,
  asUser,
  BASE,
  boot,
  filled,
  inInterrupt,
  inThread,
  locked,
  must,
  peek,
  RW,
  setup,
} from './help.ts';

const test = suite('solaris bp_mapin');

test('MAPIN-01 nothing is done for a buf that has a kernel address', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  for (const [flags, proc] of [
    [B_BUSY, null],
    [B_BUSY | B_PHYS, null],
    [B_BUSY | B_PHYS, kernel.p0],
  ] as const) {
    const bp = aBuf(solaris);
    bp.b_flags = flags;
    bp.b_proc = proc;
    bp.b_un.b_addr = 0x1234;
    inThread(solaris, () => solaris.bp_mapin(bp));
    assert.equal([bp.b_flags, bp.b_un.b_addr], [flags, 0x1234]);
  }
  const cookiep = new Pointer<UmemCookie>();
  inThread(solaris, function* () {
    const address = yield* solaris.ddi_umem_alloc(PAGE_SIZE, DDI_UMEM_SLEEP, cookiep);
    const bp = yield* setup(solaris, must(cookiep.value), 0, 512);
    yield* solaris.bp_mapin(bp);
    assert.is(bp.b_un.b_addr, address);
  });
});

test('MAPIN-02 MAPIN-03 the CPU sees the same pages, at the same offset', async () => {
  const solaris = await boot({ placement: 'scatter' });
  asUser(solaris, function* (as) {
    const bytes = yield* filled(solaris, as, 3);
    const cookie = yield* locked(solaris, 3);
    const bp = yield* setup(solaris, cookie, 0x345, 0x2000);
    yield* solaris.bp_mapin(bp);
    assert.is(bp.b_flags & B_REMAPPED, B_REMAPPED);
    assert.is(bp.b_un.b_addr % PAGE_SIZE, 0x345);
    const seen = new Uint8Array(0x2000);
    assert.is(solaris.kernel.kas.read(bp.b_un.b_addr, seen), 0x2000);
    assert.equal(seen, bytes.subarray(0x345, 0x2345));
    solaris.kernel.kas.write(bp.b_un.b_addr + 0x1000, Uint8Array.of(1, 2, 3));
    assert.equal(yield* peek(solaris, as, BASE + 0x1345, 3), Uint8Array.of(1, 2, 3));
    assert.is(solaris.page_lock_count(must(solaris.kernel.kas.pageAt(bp.b_un.b_addr))), 1);
    solaris.bp_mapout(bp);
    solaris.freerbuf(bp);
    solaris.ddi_umem_unlock(cookie);
  });
});

test('MAPIN-02 a buf without a page list is found by its address, in its own process', async () => {
  const solaris = await boot();
  const { inode } = diskFile(solaris.kernel, 2 * PAGE_SIZE);
  asUser(solaris, function* (as) {
    yield* as.mmap({ address: BASE, length: 2 * PAGE_SIZE, prot: RW, shared: true, file: inode });
    const cookie = yield* locked(solaris, 2);
    const bp = yield* setup(solaris, cookie, 0xff0, 0x20);
    assert.is(bp.b_flags & B_SHADOW, 0);
    const mapper = solaris.kernel.scheduler.spawn('driver', () => solaris.bp_mapin(bp));
    yield* solaris.kernel.scheduler.join(mapper);
    const seen = new Uint8Array(0x20);
    solaris.kernel.kas.read(bp.b_un.b_addr, seen);
    assert.equal(
      seen,
      Uint8Array.from({ length: 0x20 }, (_, i) => fileByte(0xff0 + i)),
    );
    solaris.bp_mapout(bp);
    solaris.freerbuf(bp);
    solaris.ddi_umem_unlock(cookie);
    yield* solaris.kernel.vm.dropCache(inode);
  });
});

test('MAPIN-02 memory that is not there, or an interrupt, is a bug', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as, proc) {
    yield* filled(solaris, as, 1);
    const bp = must(yield* solaris.getrbuf(0));
    bp.b_flags = B_BUSY | B_PHYS | B_READ;
    bp.b_proc = proc;
    bp.b_un.b_addr = BASE;
    bp.b_bcount = 2 * PAGE_SIZE;
    assertBug('MAPIN-02', () => solaris.kernel.scheduler.atomic(mapNow()));
    bp.b_bcount = PAGE_SIZE;
    assertBug('ctx-sleep', () =>
      inInterrupt(solaris, () => solaris.kernel.scheduler.atomic(solaris.bp_mapin(bp))),
    );
    solaris.freerbuf(bp);

    function mapNow() {
      // The check of the context comes first: out of the atomic section the bug is the page.
      solaris.kernel.cpu.atomicDepth--;
      try {
        solaris.bp_mapin(bp).next();
      } finally {
        solaris.kernel.cpu.atomicDepth++;
      }
      return solaris.bp_mapin(bp);
    }
  });
});

test('MAPIN-04 B_PHYS with B_PAGEIO is a bug', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  bp.b_flags = B_PHYS | B_PAGEIO;
  assertBug('MAPIN-04', () => inThread(solaris, () => solaris.bp_mapin(bp)));
});

test('MAPIN-05 mapped out, only the offset in the page is left, and the page list', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    const bytes = yield* filled(solaris, as, 2);
    const cookie = yield* locked(solaris, 2);
    const bp = yield* setup(solaris, cookie, 0x1010, 512);
    solaris.bp_mapout(bp); // not mapped in: nothing
    assert.is(bp.b_un.b_addr, BASE + 0x1010);
    yield* solaris.bp_mapin(bp);
    const address = bp.b_un.b_addr;
    solaris.bp_mapout(bp);
    assert.equal([bp.b_un.b_addr, bp.b_flags & B_REMAPPED], [0x10, 0]);
    assert.is(solaris.kernel.kas.pageAt(address), null);
    yield* solaris.bp_mapin(bp); // by the list
    const seen = new Uint8Array(512);
    solaris.kernel.kas.read(bp.b_un.b_addr, seen);
    assert.equal(seen, bytes.subarray(0x1010, 0x1210));
    solaris.bp_mapout(bp);
    solaris.freerbuf(bp);
    solaris.ddi_umem_unlock(cookie);
  });
});

test('MAPIN-05 mapped out, a buf can be bound again by its list; without one nothing is at its address', async () => {
  const solaris = await boot();
  const dip = new DevInfo(solaris.kernel.machine.addController({ kind: 'ahci' }), 'test');
  const handle = alloc(solaris, dip, attr({ addr_hi: NO_LIMIT }));
  const bound = (bp: Buf) =>
    now(
      solaris,
      solaris.ddi_dma_buf_bind_handle(handle, bp, DDI_DMA_READ, DDI_DMA_DONTWAIT, null, null, null),
    );
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 2);
    const cookie = yield* locked(solaris, 2);
    const bp = yield* setup(solaris, cookie, 0x1010, 512);
    yield* solaris.bp_mapin(bp);
    solaris.bp_mapout(bp);
    assert.is(bound(bp), DDI_DMA_MAPPED);
    const { phys } = must(as.pageTable.page(BASE + PAGE_SIZE));
    assert.is(solaris.ddi_dma_cookie_one(handle).dmac_laddress, phys + 0x10);
    solaris.ddi_dma_unbind_handle(handle);
    bp.b_flags &= ~B_SHADOW;
    bp.b_shadow = null;
    assertBug('BIND-05', () => bound(bp));
    solaris.freerbuf(bp);
    solaris.ddi_umem_unlock(cookie);
  });
});

test('MAPIN-06 a mapping that bp_mapin did not make is not taken out', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  bp.b_flags = B_REMAPPED;
  bp.b_un.b_addr = 2 ** 52 + 0x10;
  assertBug('MAPIN-06', () => solaris.bp_mapout(bp));
});

test('MAPIN-07 one bp_mapout undoes any number of bp_mapin', async () => {
  const solaris = await boot();
  const page = must(solaris.kernel.allocator.alloc());
  const bp = aBuf(solaris);
  bp.b_flags = B_BUSY | B_PAGEIO;
  bp.b_pages = new PageListPtr([page]);
  bp.b_bcount = 512;
  inThread(solaris, function* () {
    yield* solaris.bp_mapin(bp);
    const address = bp.b_un.b_addr;
    yield* solaris.bp_mapin(bp);
    assert.is(bp.b_un.b_addr, address);
    solaris.bp_mapout(bp);
    assert.is(bp.b_flags & B_REMAPPED, 0);
    assert.is(solaris.kernel.kas.pageAt(address), null);
  });
});
