import { PAGE_SIZE } from '../../src/kernel/index.ts';
import {
  B_ASYNC,
  B_BUSY,
  B_DONE,
  B_PHYS,
  B_READ,
  B_SHADOW,
  B_WRITE,
  type Buf,
  DDI_UMEM_NOSLEEP,
  DDI_UMEM_PAGEABLE,
  DDI_UMEM_SLEEP,
  DDI_UMEM_TRASH,
  DDI_UMEMLOCK_READ,
  DDI_UMEMLOCK_WRITE,
  Pointer,
  type SolarisApi,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { diskFile } from '../kernel/files.ts';
import { assert, suite } from '../run/suite.ts';
import {
  assertBug,
  asUser,
  BASE,
  boot,
  filled,
  inInterrupt,
  inThread,
  locked,
  must,
  RW,
  setup,
} from './help.ts';

const test = suite('solaris ddi_umem_iosetup');

/** Runs a body over four locked pages. */
function* overCookie(
  solaris: SolarisApi,
  flags: number,
  body: (cookie: UmemCookie) => Generator<never, void, void>,
  pages = 4,
) {
  const as = must(solaris.kernel.curproc.p_as);
  yield* filled(solaris, as, pages);
  const cookie = yield* locked(solaris, pages, flags);
  yield* body(cookie);
  solaris.ddi_umem_unlock(cookie);
}

/** Asks for a buf where nothing has to sleep. */
function ask(
  solaris: SolarisApi,
  cookie: UmemCookie,
  off: number,
  len: number,
  direction = B_READ,
  sleepflag = DDI_UMEM_SLEEP,
): Buf | null {
  const asked = solaris.ddi_umem_iosetup(cookie, off, len, direction, 7, 100, null, sleepflag).next();
  if (asked.done !== true) throw new Error('slept');
  return asked.value;
}

const SIZE = 4 * PAGE_SIZE;

/** Runs checks on a cookie of four pages that a process has locked. */
async function check(
  body: (solaris: SolarisApi, cookie: UmemCookie) => void,
  flags = DDI_UMEMLOCK_WRITE,
): Promise<void> {
  const solaris = await boot();
  asUser(solaris, () =>
    overCookie(solaris, flags, function* (cookie) {
      body(solaris, cookie);
    }),
  );
}

function refused(solaris: SolarisApi, bp: Buf | null): void {
  assert.is(bp, null);
  assert.is(solaris.kmem_in_use().get('buf'), undefined);
}

function granted(solaris: SolarisApi, bp: Buf | null): void {
  solaris.freerbuf(must(bp));
}

test('IOSETUP-01 the range must end in the cookie; exactly at its end is right', () =>
  check((solaris, cookie) => {
    granted(solaris, ask(solaris, cookie, 0, SIZE));
    granted(solaris, ask(solaris, cookie, SIZE - 1, 1));
    refused(solaris, ask(solaris, cookie, 1, SIZE));
    refused(solaris, ask(solaris, cookie, SIZE, 1));
    refused(solaris, ask(solaris, cookie, SIZE + 1, 0));
  }));

test('IOSETUP-02 more than the cookie has is refused', () =>
  check((solaris, cookie) => {
    refused(solaris, ask(solaris, cookie, 0, SIZE + 1));
    refused(solaris, ask(solaris, cookie, 0, 2 ** 64 - 4096));
  }));

test('IOSETUP-03 the direction is exactly B_READ or exactly B_WRITE', () =>
  check((solaris, cookie) => {
    granted(solaris, ask(solaris, cookie, 0, 512, B_READ));
    granted(solaris, ask(solaris, cookie, 0, 512, B_WRITE));
    for (const wrong of [0, B_READ | B_WRITE, B_READ | B_ASYNC, B_WRITE | B_BUSY, -1])
      refused(solaris, ask(solaris, cookie, 0, 512, wrong));
  }));

test('IOSETUP-04 a direction against the lock is set up, and said', async () => {
  const said = async (flags: number, direction: number): Promise<number> => {
    let count = 0;
    await check((solaris, cookie) => {
      granted(solaris, ask(solaris, cookie, 0, 512, direction));
      count = solaris.kernel.warnings.all.filter(({ rule }) => rule === 'IOSETUP-04').length;
    }, flags);
    return count;
  };
  assert.is(await said(DDI_UMEMLOCK_READ, B_WRITE), 0);
  assert.is(await said(DDI_UMEMLOCK_WRITE, B_READ), 0);
  assert.is(await said(DDI_UMEMLOCK_READ, B_READ), 1);
  assert.is(await said(DDI_UMEMLOCK_WRITE, B_WRITE), 1);
  assert.is(await said(DDI_UMEMLOCK_READ | DDI_UMEMLOCK_WRITE, B_READ), 0);
  assert.is(await said(DDI_UMEMLOCK_READ | DDI_UMEMLOCK_WRITE, B_WRITE), 0);
});

test('IOSETUP-05 the sleepflag is one of two', () =>
  check((solaris, cookie) => {
    granted(solaris, ask(solaris, cookie, 0, 512, B_READ, DDI_UMEM_NOSLEEP));
    for (const wrong of [2, 3, -1]) refused(solaris, ask(solaris, cookie, 0, 512, B_READ, wrong));
  }));

test('IOSETUP-06 only locked memory and memory of the kernel that stays', async () => {
  const solaris = await boot();
  for (const [flags, fits] of [
    [DDI_UMEM_SLEEP, true],
    [DDI_UMEM_PAGEABLE, false],
    [DDI_UMEM_TRASH, false],
  ] as const) {
    const cookiep = new Pointer<UmemCookie>();
    inThread(solaris, () => solaris.ddi_umem_alloc(PAGE_SIZE, flags, cookiep));
    const bp = inThread(solaris, () =>
      solaris.ddi_umem_iosetup(must(cookiep.value), 0, 512, B_READ, 7, 1, null, DDI_UMEM_SLEEP),
    );
    assert.is(bp !== null, fits);
  }
});

test('IOSETUP-07 without sleep it may fail for memory, with sleep it waits', async () => {
  const solaris = await boot();
  const { kmemFailures } = solaris.kernel;
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    const cookie = yield* locked(solaris, 1);
    kmemFailures.failAll();
    refused(solaris, ask(solaris, cookie, 0, 512, B_READ, DDI_UMEM_NOSLEEP));
    kmemFailures.set({ every: 2 });
    const one = yield* setup(solaris, cookie, 0, 512);
    const before = solaris.kernel.scheduler.now();
    const two = yield* setup(solaris, cookie, 0, 512);
    assert.ok(solaris.kernel.scheduler.now() > before);
    kmemFailures.off();
    solaris.freerbuf(one);
    solaris.freerbuf(two);
    solaris.ddi_umem_unlock(cookie);
  });
});

test('IOSETUP-08 an offset before the cookie is refused', () =>
  check((solaris, cookie) => {
    refused(solaris, ask(solaris, cookie, -512, 512));
    refused(solaris, ask(solaris, cookie, -1, 4096));
  }));

test('IOSETUP-09 any offset and length, also none', () =>
  check((solaris, cookie) => {
    for (const [off, len] of [
      [1, 1],
      [4095, 3],
      [0, 0],
      [SIZE, 0],
    ] as const) {
      const bp = must(ask(solaris, cookie, off, len));
      assert.equal([bp.b_un.b_addr, bp.b_bcount], [BASE + off, len]);
      solaris.freerbuf(bp);
    }
  }));

test('IOSETUP-10 IOSETUP-11 what the buf says of the transfer', async () => {
  const solaris = await boot({ placement: 'scatter' });
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 4);
    const cookie = yield* locked(solaris, 4);
    const iodone = () => undefined;
    for (const [off, page] of [
      [0, 0],
      [0xfff, 0],
      [0x1000, 1],
      [0x3210, 3],
    ] as const) {
      const bp = must(
        yield* solaris.ddi_umem_iosetup(cookie, off, 0x100, B_READ, 7, -5, iodone, DDI_UMEM_SLEEP),
      );
      assert.is(bp.b_flags, B_BUSY | B_PHYS | B_READ | B_SHADOW);
      assert.is(bp.b_flags & (B_ASYNC | B_DONE), 0);
      assert.equal([bp.b_edev, bp.b_lblkno, bp.b_blkno, bp.b_bcount], [7, -5, -5, 0x100]);
      assert.is(bp.b_iodone, iodone);
      assert.is(bp.b_un.b_addr, BASE + off);
      assert.is(bp.b_shadow?.page(), as.pageTable.page(BASE + page * PAGE_SIZE));
      assert.is(bp.b_shadow?.page(4 - page), null); // the list ends with the cookie
      solaris.freerbuf(bp);
    }
    solaris.ddi_umem_unlock(cookie);
  });
});

test('IOSETUP-10 no page list for what has none', async () => {
  const solaris = await boot();
  const { inode } = diskFile(solaris.kernel, PAGE_SIZE);
  asUser(solaris, function* (as) {
    yield* as.mmap({ address: BASE, length: PAGE_SIZE, prot: RW, shared: true, file: inode });
    const cookie = yield* locked(solaris, 1);
    const bp = yield* setup(solaris, cookie, 0, 512);
    assert.equal([bp.b_flags, bp.b_shadow], [B_BUSY | B_PHYS | B_READ, null]);
    solaris.freerbuf(bp);
    solaris.ddi_umem_unlock(cookie);
    yield* solaris.kernel.vm.dropCache(inode);
  });
});

test('IOSETUP-12 IOSETUP-14 the process is the one that locked, whoever asks', async () => {
  const solaris = await boot();
  const { scheduler, spawnProcess } = solaris.kernel;
  asUser(solaris, function* (as, proc) {
    yield* filled(solaris, as, 1);
    const cookie = yield* locked(solaris, 1);
    const other = spawnProcess('other', () => setup(solaris, cookie, 0, 512));
    const bp = (yield* scheduler.join(other)) as Buf;
    assert.is(bp.b_proc, proc);
    const now = inInterrupt(solaris, () => ask(solaris, cookie, 0, 512, B_READ, DDI_UMEM_NOSLEEP));
    assert.is(must(now).b_proc, proc);
    assertBug('ctx-sleep', () => inInterrupt(solaris, () => ask(solaris, cookie, 0, 512)));
    solaris.freerbuf(bp);
    solaris.freerbuf(must(now));
    solaris.ddi_umem_unlock(cookie);
  });
  const cookiep = new Pointer<UmemCookie>();
  asUser(solaris, function* () {
    yield* solaris.ddi_umem_alloc(PAGE_SIZE, DDI_UMEM_SLEEP, cookiep);
    const bp = yield* setup(solaris, must(cookiep.value), 0, 512);
    assert.equal([bp.b_proc, bp.b_shadow, bp.b_flags & B_SHADOW], [null, null, 0]);
    solaris.freerbuf(bp);
    solaris.ddi_umem_free(cookiep.value);
  });
});

test('IOSETUP-13 all else is as bioinit leaves it', () =>
  check((solaris, cookie) => {
    const bp = must(ask(solaris, cookie, 0, 512));
    assert.equal([bp.b_resid, bp.b_error, bp.b_bufsize, bp.b_offset], [0, 0, 0, -1]);
    assert.equal([bp.b_private, bp.av_forw, bp.av_back, bp.b_pages, bp.b_file], Array(5).fill(null));
    assert.equal([must(bp.b_sem).count, must(bp.b_io).count], [0, 0]);
    solaris.freerbuf(bp);
  }));

test('IOSETUP-15 the buf is the caller own: biodone does not free it, an iodone may', () =>
  check((solaris, cookie) => {
    const bp = must(ask(solaris, cookie, 0, 512));
    solaris.biodone(bp);
    assert.is(bp.b_flags & B_DONE, B_DONE);
    solaris.freerbuf(bp);
    const other = must(ask(solaris, cookie, 0, 512));
    other.b_iodone = (done) => {
      solaris.freerbuf(done);
      return 0;
    };
    inInterrupt(solaris, () => solaris.biodone(other));
    assert.is(solaris.kmem_in_use().get('buf'), undefined);
  }));

test('IOSETUP-16 setting up takes a header and nothing else, and moves no bytes', () =>
  check((solaris, cookie) => {
    const { allocator, machine } = solaris.kernel;
    const { mark } = allocator;
    const page = must(cookie.shadow?.page());
    const before = machine.memory.readBytes(page.phys, PAGE_SIZE);
    const uses = page.count;
    const inUse = new Map(solaris.kmem_in_use());
    const bp = must(ask(solaris, cookie, 0, SIZE));
    assert.equal(new Map(solaris.kmem_in_use()), inUse.set('buf', 1));
    assert.equal(allocator.since(mark), []);
    assert.is(page.count, uses);
    assert.equal(machine.memory.readBytes(page.phys, PAGE_SIZE), before);
    assert.is(machine.now(), 0);
    solaris.freerbuf(bp);
  }));

test('IOSETUP-17 the direction is recorded and changes nothing else', () =>
  check((solaris, cookie) => {
    const read = must(ask(solaris, cookie, 0x123, 0x456, B_READ));
    const write = must(ask(solaris, cookie, 0x123, 0x456, B_WRITE));
    assert.is(read.b_flags ^ write.b_flags, B_READ | B_WRITE);
    assert.equal(
      [write.b_un.b_addr, write.b_bcount, write.b_shadow],
      [read.b_un.b_addr, read.b_bcount, read.b_shadow],
    );
    solaris.freerbuf(read);
    solaris.freerbuf(write);
  }, DDI_UMEMLOCK_READ | DDI_UMEMLOCK_WRITE));

test('UMEM-01 UMEM-02 many bufs over one cookie at once, overlapping, each borrowing its page list', () =>
  check((solaris, cookie) => {
    const bufs = [
      ask(solaris, cookie, 0, SIZE),
      ask(solaris, cookie, 0, SIZE),
      ask(solaris, cookie, 0x800, 0x1000),
      ask(solaris, cookie, 0x1000, 0x3000),
    ].map(must);
    for (const bp of bufs) assert.is(bp.b_shadow?.list, cookie.shadow?.list);
    assert.is(must(cookie.shadow?.page()).count, 2); // the process's, and the lock's
    for (const bp of bufs) solaris.freerbuf(bp);
  }));

test('UMEM-03 bufs are freed in any order and the cookie stays', () =>
  check((solaris, cookie) => {
    const [a, b, c] = [0, 1, 2].map((i) => must(ask(solaris, cookie, i * 512, 512)));
    for (const bp of [b, a, c]) {
      solaris.freerbuf(must(bp));
      assert.is(solaris.page_lock_count(must(cookie.shadow?.page())), 1);
    }
    granted(solaris, ask(solaris, cookie, 0, SIZE));
  }));

test('UMEM-07 unlocking under a buf neither waits nor fails; who watches DMA is told of the pages', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 2);
    const cookie = yield* locked(solaris, 2);
    const again = yield* locked(solaris, 1);
    const bp = yield* setup(solaris, cookie, 0, 8192);
    const [first, second] = [must(bp.b_shadow?.page(0)), must(bp.b_shadow?.page(1))];
    const told: unknown[] = [];
    kernel.onPagesUnlocked = (pages) => {
      told.push(...pages);
    };
    solaris.ddi_umem_unlock(cookie);
    assert.is(told.length, 1);
    assert.is(told[0], second); // the first is still locked
    solaris.ddi_umem_unlock(again);
    assert.is(told[1], first);
    assert.is(yield* as.munmap(BASE, 8192), 0);
    assert.is(first.count, 0); // the buf does not keep it
    assertBug('UMEM-07', () => ask(solaris, cookie, 0, 512));
    solaris.freerbuf(bp);
  });
});
