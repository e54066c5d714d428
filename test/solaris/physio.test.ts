import { PAGE_SIZE, VM_READ } from '../../src/kernel/index.ts';
import {
  B_BUSY,
  B_DONE,
  B_ERROR,
  B_PHYS,
  B_READ,
  B_SHADOW,
  B_STARTED,
  B_WANTED,
  B_WRITE,
  type Buf,
  DDI_UMEM_SLEEP,
  EACCES,
  EFAULT,
  EINVAL,
  EIO,
  ENXIO,
  KM_SLEEP,
  MAXPHYS,
  type Mincnt,
  Pointer,
  type SolarisApi,
  UIO_SYSSPACE,
  type Uio,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { diskFile } from '../kernel/files.ts';
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
  map,
  must,
  peek,
  poke,
  RW,
} from './help.ts';
import { atMost, DEV, left, RamDisk, uioOf } from './physio-rig.ts';

const test = suite('solaris physio');

interface Device {
  readonly solaris: SolarisApi;
  readonly disk: RamDisk;
  /** physio() to the device. */
  readonly io: (uio: Uio, rw?: number, mincnt?: Mincnt, bp?: Buf | null) => ReturnType<SolarisApi['physio']>;
}

async function device(options: Parameters<typeof boot>[0] = {}): Promise<Device> {
  const solaris = await boot(options);
  const disk = new RamDisk(solaris);
  const io: Device['io'] = (uio, rw = B_READ, mincnt = solaris.minphys, bp = null) =>
    solaris.physio(disk.strategy, bp, DEV, rw, mincnt, uio);
  return { solaris, disk, io };
}

/** A buf whose b_sem its maker holds. */
function* ownBuf(solaris: SolarisApi) {
  return must(yield* solaris.getrbuf(KM_SLEEP));
}

test('PHYS-01 minphys caps b_bcount at maxphys: 56 KiB, or what the system was set up with', async () => {
  for (const [options, most] of [
    [{}, 57344],
    [{ maxphys: 2 ** 20 }, 2 ** 20],
    [{ maxphys: 512 }, 512],
  ] as const) {
    const { solaris } = await device(options);
    assert.is(solaris.maxphys, most);
    const bp = aBuf(solaris);
    for (const [asked, got] of [
      [most + 1, most],
      [most, most],
      [most - 1, most - 1],
    ] as const) {
      bp.b_bcount = asked;
      solaris.minphys(bp);
      assert.is(bp.b_bcount, got);
    }
  }
  assert.is(MAXPHYS, 57344);
  for (const maxphys of [0, -512, 1.5, Number.NaN]) {
    let message = '';
    await device({ maxphys }).catch((error: Error) => {
      message = error.message;
    });
    assert.is(message, `maxphys is ${maxphys}; it must be a whole number of bytes from 1 on`);
  }
});

test('PHYS-01 PHYS-08 64 KiB are two transfers, 56 KiB and 8', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 17);
    assert.is(yield* io(uioOf(1024, [BASE + 0x200, 0x10000])), 0);
    assert.equal(disk.calls, ['read 2 +0xe000 at 0x100200', 'read 114 +0x2000 at 0x10e200']);
    assert.equal(yield* peek(solaris, as, BASE + 0x200, 0x10000), disk.bytes.subarray(1024, 1024 + 0x10000));
  });
});

test('PHYS-02 without a buf physio makes one, and frees it', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const before = [...solaris.kmem_in_use()];
    const seen: unknown[] = [];
    disk.onStrategy = (bp) => {
      const inUse = solaris.kmem_in_use().get('buf');
      seen.push([bp.b_iodone, bp.b_resid, bp.b_sem?.count, bp.b_io?.count, inUse]);
    };
    assert.is(yield* io(uioOf(0, [BASE, 512])), 0);
    assert.equal(seen, [[null, 0, 0, 0, 1]]);
    assert.equal([...solaris.kmem_in_use()], before);
  });
});

test('PHYS-02 a buf of the caller is used as it is: iodone is called, a stale b_resid counts', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const bp = yield* ownBuf(solaris);
    bp.b_private = 'mine';
    const ended: unknown[] = [];
    bp.b_iodone = (done) => {
      ended.push(done.b_private);
      done.b_iodone = null;
      solaris.biodone(done);
      return 0;
    };
    assert.is(yield* io(uioOf(0, [BASE, 512]), B_READ, solaris.minphys, bp), 0);
    assert.equal(ended, ['mine']);

    // A driver that leaves b_resid alone.
    const strat = (given: Buf): number => {
      solaris.biodone(given);
      return 0;
    };
    bp.b_resid = 100;
    const uio = uioOf(0, [BASE, 512], [BASE, 512]);
    assert.is(yield* solaris.physio(strat, bp, DEV, B_READ, solaris.minphys, uio), 0);
    assert.equal(left(uio), [[100, 512], 0, 2, 612, 412]);
    assert.is(disk.calls.length, 1);
    solaris.freerbuf(bp);
  });
});

test('PHYS-02 the caller must hold the buf', async () => {
  const { solaris, io } = await device();
  const bp = aBuf(solaris);
  bp.b_sem?.up();
  const call = (given: Buf) =>
    asUser(solaris, function* (as) {
      yield* map(as, BASE, 1);
      yield* io(uioOf(0, [BASE, 512]), B_READ, solaris.minphys, given);
    });
  assertBug('PHYS-02', () => {
    call(bp);
  });
  const other = await device();
  const freed = aBuf(other.solaris);
  other.solaris.freerbuf(freed);
  assertBug('PHYS-02', () =>
    asUser(other.solaris, () => other.io(uioOf(0, [BASE, 512]), B_READ, other.solaris.minphys, freed)),
  );
});

test('PHYS-03 the header: flags as new, block truncated, the smaller of piece and rest', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as, proc) {
    yield* map(as, BASE, 2);
    yield* poke(solaris, as, BASE, new Uint8Array(2 * PAGE_SIZE));
    const bp = yield* ownBuf(solaris);
    bp.b_flags = B_ERROR | B_DONE | B_WANTED | B_WRITE;
    const seen: unknown[] = [];
    const minima: number[] = [];
    disk.onStrategy = (given) => {
      assert.is(given, bp);
      seen.push([given.b_flags, given.b_edev, given.b_lblkno, given.b_un.b_addr, given.b_bcount]);
      assert.is(given.b_proc, proc);
    };
    const mincnt: Mincnt = (given) => {
      minima.push(given.b_bcount);
      given.b_bcount = Math.min(given.b_bcount, 1000);
    };
    const uio = uioOf(1535, [BASE + 8, 3000]);
    uio.uio_resid = 1500;
    assert.is(yield* io(uio, B_READ, mincnt, bp), 0);
    const flags = B_BUSY | B_PHYS | B_READ | B_SHADOW | B_STARTED;
    assert.equal(seen, [
      [flags, DEV, 2, BASE + 8, 1000],
      [flags, DEV, 4, BASE + 1008, 500],
    ]);
    assert.equal(minima, [1500, 500]);
    assert.equal(left(uio), [[1500], 0, 1, 0, 3035]); // uio_resid ended it
    solaris.freerbuf(bp);
  });
});

test('PHYS-03 a negative offset is EINVAL, before anything is done', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const uio = uioOf(-512, [BASE, 512]);
    assert.is(yield* io(uio), EINVAL);
    assert.equal([disk.calls, left(uio)], [[], [[512], 0, 1, 512, -512]]);
  });
});

test('PHYS-03 neither B_READ nor B_WRITE, or a mincnt that wants more, is a bug', async () => {
  for (const [rw, mincnt] of [
    [0, atMost(512)],
    [B_READ | B_WRITE, atMost(512)],
    [
      B_READ,
      (bp: Buf) => {
        bp.b_bcount++;
      },
    ],
  ] as const) {
    const { solaris, io } = await device();
    assertBug('PHYS-03', () =>
      asUser(solaris, function* (as) {
        yield* map(as, BASE, 1);
        yield* io(uioOf(0, [BASE, 512]), rw, mincnt);
      }),
    );
  }
});

test('PHYS-03 user context: no thread of the kernel, no interrupt', async () => {
  const { solaris, io } = await device();
  assertBug('ctx-user', () => inThread(solaris, () => io(uioOf(0, [BASE, 512]))));
  assertBug('ctx-process', () =>
    inInterrupt(solaris, () => solaris.kernel.scheduler.atomic(io(uioOf(0, [BASE, 512])))),
  );
});

test('PHYS-04 memory that is not there is EFAULT half-way, and what was moved stays counted', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 3);
    const uio = uioOf(512, [BASE, 5 * PAGE_SIZE], [BASE, 512]);
    assert.is(yield* io(uio, B_READ, atMost(2 * PAGE_SIZE)), EFAULT);
    assert.equal(disk.calls, ['read 1 +0x2000 at 0x100000']); // the next would cross the end
    assert.equal(left(uio), [[3 * PAGE_SIZE, 512], 0, 2, 3 * PAGE_SIZE + 512, 512 + 2 * PAGE_SIZE]);
    assert.equal(uio.piece?.iov_base, BASE + 2 * PAGE_SIZE);
    assert.equal(
      yield* peek(solaris, as, BASE, 2 * PAGE_SIZE),
      disk.bytes.subarray(512, 512 + 2 * PAGE_SIZE),
    );
    assert.equal(yield* peek(solaris, as, BASE + 2 * PAGE_SIZE, 8), new Uint8Array(8));
    assert.is(solaris.page_lock_count(must(as.pageTable.page(BASE))), 0);
  });
});

test('PHYS-04 a read from the device writes memory: it must be writable; and the reverse', async () => {
  const { solaris, disk, io } = await device();
  const file = diskFile(solaris.kernel, PAGE_SIZE);
  asUser(solaris, function* (as) {
    const bytes = yield* filled(solaris, as, 1);
    assert.is(yield* as.mprotect(BASE, PAGE_SIZE, VM_READ), 0);
    assert.is(yield* io(uioOf(0, [BASE, 512])), EACCES);
    assert.is(yield* io(uioOf(0, [BASE, 512]), B_WRITE), 0);
    assert.equal(disk.calls, ['write 0 +0x200 at 0x100000']);
    assert.equal(disk.bytes.subarray(0, 512), bytes.subarray(0, 512));
    // What is mapped there says why not.
    const there = BASE + 8 * PAGE_SIZE;
    yield* as.mmap({ address: there, length: PAGE_SIZE, prot: RW, shared: true, file: file.inode });
    file.failsToEnd.add(0);
    assert.is(yield* io(uioOf(0, [there, 512])), EIO);
    file.failsToEnd.clear();
    yield* solaris.kernel.vm.dropCache(file.inode);
  });
});

test('PHYS-05 the pages are locked while the device works, B_SHADOW says that they are listed', async () => {
  const { solaris, disk, io } = await device();
  const { inode } = diskFile(solaris.kernel, PAGE_SIZE);
  disk.latencyNs = 1000;
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 3);
    const there = BASE + 8 * PAGE_SIZE;
    yield* as.mmap({ address: there, length: PAGE_SIZE, prot: RW, shared: true, file: inode });
    const seen: unknown[] = [];
    disk.onStrategy = (bp) => {
      const page = as.pageTable.page(bp.b_un.b_addr - (bp.b_un.b_addr % PAGE_SIZE));
      const counts = [0, 1, 2].map((i) =>
        solaris.page_lock_count(must(as.pageTable.page(BASE + i * PAGE_SIZE))),
      );
      const shadow = (bp.b_flags & B_SHADOW) !== 0;
      assert.is(bp.b_flags & B_STARTED, B_STARTED);
      assert.is(bp.b_shadow?.page() ?? null, shadow ? page : null);
      seen.push([shadow, ...counts]);
    };
    assert.is(yield* io(uioOf(0, [BASE + PAGE_SIZE + 512, PAGE_SIZE], [there, 512])), 0);
    assert.equal(seen, [
      [true, 0, 1, 1],
      [false, 0, 0, 0],
    ]);
    for (let i = 0; i < 3; i++)
      assert.is(solaris.page_lock_count(must(as.pageTable.page(BASE + i * PAGE_SIZE))), 0);
    assert.equal(yield* peek(solaris, as, there, 512), disk.bytes.subarray(PAGE_SIZE, PAGE_SIZE + 512));
    yield* solaris.kernel.vm.dropCache(inode);
  });
});

test('PHYS-05 strategy’s result means nothing, and the pages are unlocked as they were locked', async () => {
  const { solaris } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 3);
    // As drivers do at the end of a partition: the buf is shortened.
    const strat = (bp: Buf): number => {
      bp.b_resid = bp.b_bcount - 512;
      bp.b_bcount = 512;
      bp.b_un.b_addr = 0;
      solaris.biodone(bp);
      return EIO;
    };
    const uio = uioOf(0, [BASE, 3 * PAGE_SIZE]);
    assert.is(yield* solaris.physio(strat, null, DEV, B_READ, solaris.minphys, uio), 0);
    assert.equal(left(uio), [[3 * PAGE_SIZE - 512], 0, 1, 3 * PAGE_SIZE - 512, 512]);
    assert.is(solaris.page_lock_count(must(as.pageTable.page(BASE + 2 * PAGE_SIZE))), 0);
  });
});

test('PHYS-06 PHYS-07 a transfer that fails ends it: what is not in b_resid counts as moved', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 4);
    for (const [resid, moved] of [
      [0, 1024],
      [512, 512],
      [1024, 0],
    ] as const) {
      disk.calls.length = 0;
      disk.endings.push({}, { error: ENXIO, resid });
      const uio = uioOf(0, [BASE, 8192], [BASE, 512]);
      assert.is(yield* io(uio, B_READ, atMost(1024)), ENXIO);
      assert.is(disk.calls.length, 2);
      assert.equal(left(uio), [[8192 - 1024 - moved, 512], 0, 2, 8704 - 1024 - moved, 1024 + moved]);
    }
  });
});

test('PHYS-06 a b_resid that is more than was asked for is a bug', async () => {
  for (const resid of [513, -1]) {
    const { solaris } = await device();
    const strat = (bp: Buf): number => {
      bp.b_resid = resid;
      solaris.biodone(bp);
      return 0;
    };
    assertBug('PHYS-06', () =>
      asUser(solaris, function* (as) {
        yield* map(as, BASE, 1);
        yield* solaris.physio(strat, null, DEV, B_READ, solaris.minphys, uioOf(0, [BASE, 512]));
      }),
    );
  }
});

test('PHYS-07 a transfer that falls short ends it without an error', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 4);
    disk.endings.push({}, { resid: 24 });
    const uio = uioOf(0, [BASE, 1024], [BASE + PAGE_SIZE, 1024], [BASE, 1024]);
    assert.is(yield* io(uio), 0);
    assert.equal(left(uio), [[0, 24, 1024], 1, 2, 1048, 2024]);
    assert.is(disk.calls.length, 2);
  });
});

test('PHYS-08 transfers never span pieces, and come one after the other', async () => {
  const { solaris, disk, io } = await device();
  disk.latencyNs = 5000;
  asUser(solaris, function* (as) {
    const bytes = yield* filled(solaris, as, 8);
    const uio = uioOf(4096, [BASE + 16, 2048], [BASE + 0x2000, 2560], [BASE + 0x4ff0, 1024]);
    assert.is(yield* io(uio, B_WRITE, atMost(1024)), 0);
    assert.equal(disk.calls, [
      'write 8 +0x400 at 0x100010',
      'write 10 +0x400 at 0x100410',
      'write 12 +0x400 at 0x102000',
      'write 14 +0x400 at 0x102400',
      'write 16 +0x200 at 0x102800',
      'write 17 +0x400 at 0x104ff0',
    ]);
    assert.is(disk.deepest, 1);
    assert.equal(left(uio), [[0, 0, 0], 3, 0, 0, 4096 + 5632]);
    const parts = [bytes.subarray(16, 2064), bytes.subarray(0x2000, 0x2a00), bytes.subarray(0x4ff0, 0x53f0)];
    assert.equal(disk.bytes.subarray(4096, 4096 + 5632), Uint8Array.from(parts.flatMap((part) => [...part])));
  });
});

test('PHYS-09 empty pieces are skipped; nothing but those is success', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const empty = uioOf(-5, [BASE, 0], [0, 0]);
    assert.is(yield* io(empty), 0);
    assert.equal([disk.calls, left(empty)], [[], [[0, 0], 2, 0, 0, -5]]);
    assert.is(yield* io(uioOf(0)), 0);
    const uio = uioOf(0, [0, 0], [BASE, 512], [0, 0], [0, 0], [BASE + 512, 512], [0, 0]);
    assert.is(yield* io(uio), 0);
    assert.equal(disk.calls, ['read 0 +0x200 at 0x100000', 'read 1 +0x200 at 0x100200']);
    assert.equal(left(uio), [[0, 0, 0, 0, 0, 0], 6, 0, 0, 1024]);
  });
});

test('PHYS-10 UIO_SYSSPACE: memory of the kernel, of no process', async () => {
  const { solaris, disk, io } = await device({ placement: 'scatter' });
  inThread(solaris, function* () {
    const cookiep = new Pointer<UmemCookie>();
    const address = must(yield* solaris.ddi_umem_alloc(3 * PAGE_SIZE, DDI_UMEM_SLEEP, cookiep));
    const page = must(solaris.kernel.kas.pageAt(address + PAGE_SIZE));
    const seen: unknown[] = [];
    disk.onStrategy = (bp) => {
      seen.push([bp.b_proc, bp.b_flags & (B_PHYS | B_SHADOW), solaris.page_lock_count(page)]);
      assert.is(bp.b_un.b_addr, address + 100);
    };
    const uio = uioOf(1024, [address + 100, 5120]);
    uio.uio_segflg = UIO_SYSSPACE;
    assert.is(yield* io(uio), 0);
    assert.equal(seen, [[null, B_PHYS, 1]]);
    assert.is(solaris.page_lock_count(page), 0);
    assert.equal(disk.calls, ['read 2 +0x1400 at kernel']);
    const bytes = new Uint8Array(5120);
    solaris.kernel.kas.read(address + 100, bytes);
    assert.equal(bytes, disk.bytes.subarray(1024, 1024 + 5120));

    const beyond = uioOf(0, [address + PAGE_SIZE, 3 * PAGE_SIZE]);
    beyond.uio_segflg = UIO_SYSSPACE;
    assert.is(yield* io(beyond), EFAULT);
    assert.is(solaris.page_lock_count(page), 0);
    solaris.ddi_umem_free(cookiep.value);
  });
});

test('PHYS-10 kernel memory that is freed under a transfer is nobody else’s before its end', async () => {
  const { solaris, disk } = await device();
  inThread(solaris, function* () {
    const cookiep = new Pointer<UmemCookie>();
    const address = must(yield* solaris.ddi_umem_alloc(PAGE_SIZE, DDI_UMEM_SLEEP, cookiep));
    const page = must(solaris.kernel.kas.pageAt(address));
    const uio = uioOf(0, [address, 512]);
    uio.uio_segflg = UIO_SYSSPACE;
    const strat = (bp: Buf): number => {
      solaris.ddi_umem_free(cookiep.value);
      assert.is(page.count, 1);
      solaris.biodone(bp);
      return 0;
    };
    assert.is(yield* solaris.physio(strat, null, DEV, B_READ, solaris.minphys, uio), 0);
    assert.is(page.count, 0);
    assert.equal(disk.calls, []);
  });
});

test('PHYS-11 b_error is 0 again for every piece, B_ERROR for every transfer', async () => {
  const { solaris, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const bp = yield* ownBuf(solaris);
    bp.b_error = ENXIO;
    bp.b_flags = B_ERROR;
    const seen: unknown[] = [];
    const strat = (given: Buf): number => {
      seen.push([given.b_error, given.b_flags & B_ERROR]);
      given.b_error = EIO; // without B_ERROR it is none
      solaris.biodone(given);
      return 0;
    };
    const uio = uioOf(0, [BASE, 1024], [BASE, 512]);
    assert.is(yield* solaris.physio(strat, bp, DEV, B_READ, atMost(512), uio), 0);
    assert.equal(seen, [
      [0, 0],
      [EIO, 0],
      [0, 0],
    ]);
    // The B_ERROR that a refused lock finds is not left from the transfer before.
    assert.is(yield* io(uioOf(0, [BASE, 2 * PAGE_SIZE]), B_READ, atMost(PAGE_SIZE), bp), EFAULT);
    assert.is(bp.b_flags & B_ERROR, 0);
    solaris.freerbuf(bp);
  });
});

test('PHYS-12 at its end the buf is not busy, wanted, physical or listed', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const bp = yield* ownBuf(solaris);
    disk.onStrategy = (given) => {
      given.b_flags |= B_WANTED;
    };
    const ends: unknown[] = [];
    for (const ending of [{}, { error: EIO }, { resid: 512 }]) {
      disk.endings.push(ending);
      ends.push([yield* io(uioOf(0, [BASE, 512]), B_READ, solaris.minphys, bp), bp.b_flags, bp.b_shadow]);
    }
    ends.push([yield* io(uioOf(0, [0, 512]), B_WRITE, solaris.minphys, bp), bp.b_flags, bp.b_shadow]);
    assert.equal(ends, [
      [0, B_READ | B_DONE, null],
      [EIO, B_READ | B_DONE | B_ERROR, null],
      [0, B_READ | B_DONE, null],
      [EFAULT, B_WRITE, null],
    ]);
    solaris.freerbuf(bp);
  });
});

test('PHYS-13 a mincnt that leaves nothing is EFAULT, wherever the memory begins', async () => {
  const { solaris, disk, io } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    for (const at of [BASE, BASE + 16]) {
      const uio = uioOf(0, [at, 512]);
      assert.is(yield* io(uio, B_READ, atMost(0)), EFAULT);
      assert.equal([disk.calls, left(uio)], [[], [[512], 0, 1, 512, 0]]);
    }
  });
});

test('PHYS-14 a driver that never calls biodone blocks its caller for ever', async () => {
  const { solaris, disk, io } = await device();
  disk.endings.push({}, { lost: true });
  const report = assertDeadlock(() =>
    asUser(solaris, function* (as) {
      yield* map(as, BASE, 1);
      yield* io(uioOf(0, [BASE, 1024]), B_READ, atMost(512));
    }),
  );
  assert.is(disk.calls.length, 2);
  assert.match(JSON.stringify(report), /semaphore b_io/);
});

test('PHYS-05 who would unmap the memory waits for the end of the transfer', async () => {
  const { solaris, disk, io } = await device();
  disk.latencyNs = 10_000;
  const order: string[] = [];
  asUser(solaris, function* (as, proc) {
    yield* filled(solaris, as, 2);
    const other = solaris.kernel.spawnProcess(
      'other',
      function* () {
        yield* solaris.kernel.scheduler.delay(1000);
        assert.is(disk.open, 1);
        assert.is(yield* as.munmap(BASE, PAGE_SIZE), 0);
        order.push('unmapped');
      },
      { proc },
    );
    assert.is(yield* io(uioOf(0, [BASE, 512])), 0);
    order.push('moved');
    yield* solaris.kernel.scheduler.join(other);
  });
  assert.equal(order, ['moved', 'unmapped']);
});

test('PHYS-03 default_physio is what physio calls', async () => {
  const { solaris, disk } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const uio = uioOf(512, [BASE, 512]);
    assert.is(yield* solaris.default_physio(disk.strategy, null, DEV, B_READ, solaris.minphys, uio), 0);
    assert.equal([disk.calls, left(uio)], [['read 1 +0x200 at 0x100000'], [[0], 1, 0, 0, 1024]]);
  });
});
