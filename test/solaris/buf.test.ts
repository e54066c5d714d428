import { PAGE_SIZE, PG_error } from '../../src/kernel/index.ts';
import {
  B_ABRWRITE,
  B_ASYNC,
  B_BUSY,
  B_DONE,
  B_ERROR,
  B_FAILFAST,
  B_PAGEIO,
  B_PHYS,
  B_READ,
  B_REMAPPED,
  B_SHADOW,
  B_STARTED,
  B_WRITE,
  Buf,
  EFAULT,
  EIO,
  ENXIO,
  KM_NOSLEEP,
  KM_SLEEP,
  PageListPtr,
  type SolarisApi,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import {
  aBuf,
  assertBug,
  assertDeadlock,
  asUser,
  BASE,
  boot,
  filled,
  inInterrupt,
  inThread,
  locked,
  must,
  setup,
} from './help.ts';

const test = suite('solaris buf');

/** Every field that bioinit() sets. */
function fields(bp: Buf): unknown[] {
  const { b_flags, b_edev, b_bcount, b_bufsize, b_resid, b_lblkno, b_blkno, b_error, b_offset } = bp;
  const { av_forw, av_back, b_proc, b_shadow, b_pages, b_file, b_iodone, b_private } = bp;
  const numbers = [b_flags, b_edev, b_bcount, b_bufsize, b_resid, b_lblkno, b_blkno, b_error];
  const pointers = [av_forw, av_back, b_proc, b_shadow, b_pages, b_file, b_iodone, b_private];
  return [...numbers, bp.b_un.b_addr, ...pointers, b_offset, bp.b_sem?.count, bp.b_io?.count];
}

const FRESH = [...Array(9).fill(0), ...Array(8).fill(null), -1, 0, 0];

function spoil(bp: Buf): void {
  bp.b_flags = B_ERROR | B_DONE | B_READ;
  bp.b_edev = 3;
  bp.b_iodone = () => undefined;
  bp.b_private = {};
  bp.av_forw = bp;
  bp.b_resid = 5;
  bp.b_error = EIO;
  bp.b_io?.up();
}

function clone(solaris: SolarisApi, bp: Buf, off = 0, len = 512): Buf {
  return must(inThread(solaris, () => solaris.bioclone(bp, off, len, 9, 77, null, null, KM_SLEEP)));
}

test('BUF-01 BUF-02 getrbuf gives a header as bioinit leaves it, or NULL without sleep', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  assert.equal(fields(bp), FRESH);
  const own = new Buf();
  solaris.bioinit(own);
  assert.equal(fields(own), FRESH);
  assert.is(must(own.b_sem).tryDown(), false); // its owner holds it
  solaris.kernel.kmemFailures.failAll();
  assert.is(
    inThread(solaris, () => solaris.getrbuf(KM_NOSLEEP)),
    null,
  );
  solaris.kernel.kmemFailures.set({ every: 2 });
  assert.ok(inThread(solaris, () => solaris.getrbuf(KM_SLEEP)));
  assert.ok(inThread(solaris, () => solaris.getrbuf(KM_SLEEP))); // waits for its turn
  assert.is(solaris.kmem_in_use().get('buf'), 3);
});

test('BUF-02 bioinit of a header in use is a bug', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  assertBug('BUF-02', () => solaris.bioinit(bp));
  solaris.freerbuf(bp);
  assertBug('BUF-02', () => solaris.bioinit(bp));
});

test('BUF-03 bioreset forgets everything', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  spoil(bp);
  solaris.bioreset(bp);
  assert.equal(fields(bp), FRESH);
  bp.bindings = 1;
  assertBug('BUF-03', () => solaris.bioreset(bp));
});

test('BUF-04 freerbuf works in an interrupt, looks at no flags, and finds what is still in use', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  bp.b_flags = B_BUSY;
  inInterrupt(solaris, () => solaris.freerbuf(bp));
  assert.is(solaris.kmem_in_use().size, 0);
  assertBug('BUF-04', () => solaris.freerbuf(bp));
  const bound = aBuf(solaris);
  bound.bindings = 1;
  assertBug('BUF-04', () => solaris.freerbuf(bound));
  const foreign = new Buf();
  solaris.bioinit(foreign);
  assertBug('BUF-04', () => solaris.freerbuf(foreign));
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    const cookie = yield* locked(solaris, 1);
    const mapped = yield* setup(solaris, cookie, 0, 512);
    yield* solaris.bp_mapin(mapped);
    assertBug('BUF-04', () => solaris.freerbuf(mapped));
    solaris.bp_mapout(mapped);
    solaris.freerbuf(mapped);
    solaris.ddi_umem_unlock(cookie);
  });
});

test('BUF-05 memory of biosize() bytes with bioinit and biofini does as getrbuf and freerbuf', async () => {
  const solaris = await boot();
  assert.ok(solaris.biosize() > 0);
  const bp = new Buf();
  assertBug('buf-state', () => solaris.biodone(bp));
  solaris.bioinit(bp);
  bp.b_flags = B_BUSY | B_WRITE;
  solaris.biodone(bp);
  assert.is(
    inThread(solaris, () => solaris.biowait(bp)),
    0,
  );
  solaris.biofini(bp);
  assertBug('buf-state', () => solaris.biodone(bp));
  solaris.bioinit(bp); // for another use
  assert.equal(fields(bp), FRESH);
});

test('BUF-06 biofini and then freerbuf is destroying twice', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  solaris.biofini(bp);
  assertBug('BUF-06', () => solaris.freerbuf(bp));
  assertBug('BUF-06', () => solaris.biofini(bp));
});

test('CLONE-01 a clone is a new header, or the given one made new', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  bp.b_flags = B_BUSY | B_PHYS | B_READ;
  const fresh = clone(solaris, bp);
  assert.is.not(fresh, bp);
  solaris.kernel.kmemFailures.failAll();
  assert.is(
    inThread(solaris, () => solaris.bioclone(bp, 0, 512, 9, 77, null, null, KM_NOSLEEP)),
    null,
  );
  spoil(fresh);
  const again = inThread(solaris, () => solaris.bioclone(bp, 0, 256, 9, 77, null, fresh, KM_NOSLEEP));
  assert.is(again, fresh);
  assert.is(fresh.b_private, null);
  assert.is(fresh.av_forw, null);
  assert.is(fresh.b_bcount, 256);
  assert.is(must(fresh.b_io).count, 0);
});

test('CLONE-02 CLONE-03 what a clone has of its original', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  const kept = B_READ | B_PHYS | B_FAILFAST | B_ABRWRITE;
  bp.b_flags = kept | B_ASYNC | B_DONE | B_ERROR | B_STARTED;
  bp.b_error = EIO;
  bp.b_resid = 7;
  bp.b_private = {};
  bp.b_file = {};
  bp.b_offset = 12;
  bp.b_proc = solaris.kernel.p0;
  bp.b_un.b_addr = BASE;
  const iodone = () => undefined;
  const one = must(inThread(solaris, () => solaris.bioclone(bp, 512, 1024, 9, 77, iodone, null, KM_SLEEP)));
  assert.is(one.b_flags, kept | B_BUSY);
  assert.equal([one.b_bcount, one.b_blkno, one.b_edev, one.b_offset], [1024, 77, 9, 12]);
  assert.equal([one.b_resid, one.b_error, one.b_private], [0, 0, null]);
  assert.is(one.b_iodone, iodone);
  assert.is(one.b_file, bp.b_file);
  assert.is(one.b_proc, solaris.kernel.p0);
  bp.b_flags = B_WRITE;
  assert.is(clone(solaris, bp).b_flags, B_WRITE | B_BUSY);
});

test('CLONE-04 a clone of a buf with a page list begins at its own page', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 4);
    const cookie = yield* locked(solaris, 4);
    const bp = yield* setup(solaris, cookie, 0x800, 3 * PAGE_SIZE);
    for (const [off, page] of [
      [0, 0],
      [0x7ff, 0],
      [0x800, 1],
      [0x1800, 2],
      [0x2900, 3],
    ] as const) {
      const one = must(yield* solaris.bioclone(bp, off, 512, 9, 77, null, null, KM_SLEEP));
      assert.is(one.b_un.b_addr, BASE + 0x800 + off);
      assert.is(one.b_shadow?.page(), as.pageTable.page(BASE + page * PAGE_SIZE));
      assert.is(one.b_flags & B_SHADOW, B_SHADOW);
      solaris.freerbuf(one);
    }
    solaris.freerbuf(bp);
    solaris.ddi_umem_unlock(cookie);
  });
});

test('CLONE-05 a clone of a buf that is mapped in uses the kernel address of the original', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    const bytes = yield* filled(solaris, as, 2);
    const cookie = yield* locked(solaris, 2);
    const bp = yield* setup(solaris, cookie, 0x100, 0x1800);
    yield* solaris.bp_mapin(bp);
    const address = bp.b_un.b_addr;
    const one = must(yield* solaris.bioclone(bp, 0x1000, 0x100, 9, 77, null, null, KM_SLEEP));
    assert.is(one.b_un.b_addr, address + 0x1000);
    assert.is(one.b_proc, null);
    assert.is(one.b_flags & B_REMAPPED, 0);
    yield* solaris.bp_mapin(one);
    solaris.bp_mapout(one);
    assert.is(one.b_un.b_addr, address + 0x1000);
    const seen = new Uint8Array(0x100);
    assert.is(solaris.kernel.kas.read(one.b_un.b_addr, seen), 0x100);
    assert.equal(seen, bytes.subarray(0x1100, 0x1200));
    solaris.bp_mapout(bp);
    assert.is(solaris.kernel.kas.read(one.b_un.b_addr, seen), 0); // it went with the original's
    solaris.freerbuf(one);
    solaris.freerbuf(bp);
    solaris.ddi_umem_unlock(cookie);
  });
});

test('CLONE-06 nobody checks that a clone lies within its original', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  bp.b_bcount = 512;
  const one = clone(solaris, bp, 512, 4096);
  assert.is(one.b_bcount, 4096);
  solaris.freerbuf(one);
  assert.is(bp.state, 'ready');
});

test('CLONE-07 a clone of a buf of listed pages begins at its page, with the offset in it', async () => {
  const solaris = await boot();
  const { allocator } = solaris.kernel;
  const pages = Array.from({ length: 4 }, () => must(allocator.alloc()));
  const bp = aBuf(solaris);
  bp.b_flags = B_BUSY | B_PAGEIO | B_READ;
  bp.b_pages = new PageListPtr(pages);
  bp.b_un.b_addr = 0x300;
  bp.b_bcount = 3 * PAGE_SIZE;
  for (const [off, page, addr] of [
    [0, 0, 0x300],
    [0xcff, 0, 0xfff],
    [0xd00, 1, 0],
    [0x2e00, 3, 0x100],
  ] as const) {
    const one = clone(solaris, bp, off);
    assert.is(one.b_pages?.page(), pages[page]);
    assert.is(one.b_un.b_addr, addr);
  }
});

test('BIO-01 biodone with an iodone calls it and does no more; without, it marks and posts', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  const seen: [Buf, number][] = [];
  bp.b_flags = B_BUSY | B_READ | B_STARTED;
  bp.b_iodone = (done) => {
    seen.push([done, done.b_flags]);
    return 1;
  };
  solaris.biodone(bp);
  assert.equal(seen.length, 1);
  assert.is(seen[0]?.[0], bp);
  assert.is(seen[0]?.[1], B_BUSY | B_READ); // no longer started
  assert.is(bp.b_flags & B_DONE, 0);
  assert.is(must(bp.b_io).count, 0);
  bp.b_iodone = null;
  bp.b_flags |= B_STARTED;
  solaris.biodone(bp);
  assert.is(bp.b_flags, B_BUSY | B_READ | B_DONE);
  assert.is(must(bp.b_io).count, 1);
});

test('BIO-02 biowait with an iodone waits for ever, unless the routine ends the buf itself', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  bp.b_iodone = () => undefined;
  solaris.biodone(bp);
  const report = assertDeadlock(() => inThread(solaris, () => solaris.biowait(bp)));
  assert.match(report.tasks[0]?.what ?? '', 'b_io');
  const other = aBuf(solaris);
  other.b_iodone = (done) => {
    done.b_iodone = null;
    solaris.biodone(done);
    return 0;
  };
  solaris.biodone(other);
  assert.is(
    inThread(solaris, () => solaris.biowait(other)),
    0,
  );
});

test('BIO-03 biodone twice is a bug', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  solaris.biodone(bp);
  assertBug('BIO-03', () => solaris.biodone(bp));
});

test('BIO-04 a driver that touches a buf which its iodone has freed is found', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  bp.b_iodone = (done) => {
    solaris.freerbuf(done);
    return 0;
  };
  solaris.biodone(bp);
  for (const touch of [solaris.biodone, solaris.geterror, solaris.bp_mapout])
    assertBug('buf-state', () => touch(bp));
  assertBug('buf-state', () => solaris.bioerror(bp, EIO));
});

test('BIO-05 B_ASYNC is for bufs of listed pages, which are unlocked and freed', async () => {
  const solaris = await boot();
  const { allocator, locks } = solaris.kernel;
  const bp = aBuf(solaris);
  bp.b_flags = B_BUSY | B_ASYNC;
  assertBug('BIO-05', () => solaris.biodone(bp));
  const pages = [must(allocator.alloc()), must(allocator.alloc())];
  for (const page of pages) locks.tryLock(page);
  const listed = aBuf(solaris);
  listed.b_flags = B_BUSY | B_ASYNC | B_PAGEIO | B_READ;
  listed.b_pages = new PageListPtr(pages);
  listed.b_bcount = 2 * PAGE_SIZE;
  inThread(solaris, () => solaris.bp_mapin(listed));
  const address = listed.b_un.b_addr;
  inInterrupt(solaris, () => solaris.biodone(listed));
  assert.is(solaris.kernel.kas.pageAt(address), null); // mapped out
  assert.equal(
    pages.map((page) => locks.tryLock(page)),
    [true, true],
  );
  assert.is(listed.state, 'free');
  assert.equal(
    pages.map((page) => page.flags & PG_error),
    [0, 0],
  );
  const failed = aBuf(solaris);
  failed.b_flags = B_BUSY | B_ASYNC | B_PAGEIO | B_READ;
  failed.b_pages = new PageListPtr(pages);
  failed.b_bcount = PAGE_SIZE;
  solaris.bioerror(failed, EIO);
  solaris.biodone(failed);
  assert.equal(
    pages.map((page) => page.flags & PG_error),
    [PG_error, 0],
  );
});

test('BIO-06 each post lets one biowait go, also one that comes first', async () => {
  const solaris = await boot();
  const { scheduler } = solaris.kernel;
  const early = aBuf(solaris);
  solaris.bioerror(early, ENXIO);
  solaris.biodone(early);
  assert.is(
    inThread(solaris, () => solaris.biowait(early)),
    ENXIO,
  );
  assertDeadlock(() => inThread(solaris, () => solaris.biowait(early))); // B_DONE does not help
  const late = aBuf(solaris);
  const waiter = scheduler.spawn('waiter', () => solaris.biowait(late));
  inThread(solaris, function* () {
    yield* scheduler.delay(1000);
    assert.is(waiter.state, 'sleeping');
    solaris.biodone(late);
  });
  scheduler.run({ until: waiter });
  assert.is(waiter.exitValue, 0);
});

test('BIO-06 biowait maps the buf out, unless it is B_ASYNC', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    const cookie = yield* locked(solaris, 1);
    const bp = yield* setup(solaris, cookie, 0x10, 512);
    yield* solaris.bp_mapin(bp);
    solaris.biodone(bp);
    yield* solaris.biowait(bp);
    assert.is(bp.b_flags & B_REMAPPED, 0);
    assert.is(bp.b_un.b_addr, 0x10);
    solaris.freerbuf(bp);
    const async = yield* setup(solaris, cookie, 0x10, 512);
    yield* solaris.bp_mapin(async);
    async.b_flags |= B_ASYNC;
    async.b_io?.up();
    yield* solaris.biowait(async);
    assert.is(async.b_flags & B_REMAPPED, B_REMAPPED);
    solaris.bp_mapout(async);
    solaris.freerbuf(async);
    solaris.ddi_umem_unlock(cookie);
  });
});

test('BIO-07 biowait in an interrupt is a bug, also for a buf that has ended', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  solaris.biodone(bp);
  assertBug('ctx-sleep', () =>
    inInterrupt(solaris, () => solaris.kernel.scheduler.atomic(solaris.biowait(bp))),
  );
});

test('BIO-08 bioerror sets and takes back, in any context', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  inInterrupt(solaris, () => solaris.bioerror(bp, EFAULT));
  assert.equal([bp.b_flags & B_ERROR, bp.b_error], [B_ERROR, EFAULT]);
  solaris.bioerror(bp, 0);
  assert.equal([bp.b_flags & B_ERROR, bp.b_error], [0, 0]);
  assertBug('BIO-08', () => solaris.bioerror(bp, -EIO));
});

test('BIO-09 geterror looks at B_ERROR first, and is EIO when nobody said which', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  bp.b_error = ENXIO;
  assert.is(solaris.geterror(bp), 0);
  bp.b_flags |= B_ERROR;
  assert.is(solaris.geterror(bp), ENXIO);
  bp.b_error = 0;
  assert.is(solaris.geterror(bp), EIO);
});

test('BIO-10 BIO-12 a short transfer is no error, and biodone leaves the counts alone', async () => {
  const solaris = await boot();
  const bp = aBuf(solaris);
  bp.b_bcount = 4096;
  bp.b_resid = 1024;
  solaris.biodone(bp);
  assert.is(
    inThread(solaris, () => solaris.biowait(bp)),
    0,
  );
  assert.equal([bp.b_bcount, bp.b_resid], [4096, 1024]);
});

test('BIO-11 biodone is for interrupts up to the level of the lock, and for all others who run', async () => {
  const solaris = await boot();
  inInterrupt(solaris, () => solaris.biodone(aBufNow(solaris)), 10);
  const bp = aBuf(solaris);
  assertBug('BIO-11', () => inInterrupt(solaris, () => solaris.biodone(bp), 11));
  solaris.biodone(bp);
});

function aBufNow(solaris: SolarisApi): Buf {
  return must(solaris.kernel.scheduler.atomic(solaris.getrbuf(KM_NOSLEEP)));
}
