import { PAGE_SIZE, type Sleeps, VM_READ } from '../../src/kernel/index.ts';
import {
  AioReq,
  B_ASYNC,
  B_BUSY,
  B_PHYS,
  B_READ,
  B_SHADOW,
  B_STARTED,
  B_WRITE,
  type Buf,
  DDI_UMEM_SLEEP,
  EACCES,
  EFAULT,
  EINVAL,
  EIO,
  ENOTSUP,
  ENXIO,
  type Mincnt,
  Pointer,
  type SolarisApi,
  UIO_SYSSPACE,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, assertDeadlock, asUser, BASE, boot, filled, inThread, map, must, peek } from './help.ts';
import { atMost, DEV, left, RamDisk, uioOf } from './physio-rig.ts';

const test = suite('solaris aphysio');

interface Device {
  readonly solaris: SolarisApi;
  readonly disk: RamDisk;
  /** aphysio() to the device. */
  readonly start: (req: AioReq, rw?: number, mincnt?: Mincnt) => Sleeps<number>;
}

async function device(): Promise<Device> {
  const solaris = await boot();
  const disk = new RamDisk(solaris);
  disk.latencyNs = 10_000;
  const start: Device['start'] = (req, rw = B_READ, mincnt = solaris.minphys) =>
    solaris.aphysio(disk.strategy, solaris.anocancel, DEV, rw, mincnt, req);
  return { solaris, disk, start };
}

function* pause(solaris: SolarisApi): Sleeps<void> {
  yield* solaris.kernel.scheduler.delay(100_000);
}

test('APHYS-01 only the first piece, at once, with B_ASYNC and an iodone', async () => {
  const { solaris, disk, start } = await device();
  asUser(solaris, function* (as, proc) {
    yield* map(as, BASE, 2);
    const uio = uioOf(1024, [BASE + 0x10, 2048], [BASE + PAGE_SIZE, 512]);
    const req = new AioReq(uio);
    disk.onStrategy = (bp) => {
      assert.is(bp, req.buf);
      assert.is(bp.b_proc, proc);
      assert.is(bp.b_flags & ~B_SHADOW, B_BUSY | B_PHYS | B_ASYNC | B_READ | B_STARTED);
      assert.ok(bp.b_iodone !== null);
    };
    assert.is(yield* start(req), 0);
    assert.equal([disk.calls, disk.open], [['read 2 +0x800 at 0x100010'], 1]); // it goes on
    assert.equal(yield* solaris.aio_reap(req), { aio_return: 2048, aio_errno: 0 });
    assert.equal(left(uio), [[2048, 512], 0, 2, 2560, 1024]); // nothing is counted here
    assert.equal(yield* peek(solaris, as, BASE + 0x10, 2048), disk.bytes.subarray(1024, 3072));
  });
});

test('APHYS-01 the result of the strategy is that of the call', async () => {
  const { solaris, start } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const kept: Buf[] = [];
    const strat = (bp: Buf): number => {
      kept.push(bp);
      return ENXIO;
    };
    const req = new AioReq(uioOf(0, [BASE, 512]));
    const cancel = solaris.anocancel;
    assert.is(yield* solaris.aphysio(strat, cancel, DEV, B_WRITE, solaris.minphys, req), ENXIO);
    solaris.biodone(must(kept[0]));
    yield* solaris.aio_reap(req);
    assert.is(yield* start(req), 0); // reaped, so it can be used again
    yield* solaris.aio_reap(req);
  });
});

test('APHYS-01 refused: a negative offset, what mincnt would split, memory that is not there', async () => {
  const { solaris, disk, start } = await device();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    const refuse = function* (
      offset: number,
      at: number,
      bytes: number,
      mincnt?: Mincnt,
      rw?: number,
    ): Sleeps<number> {
      const req = new AioReq(uioOf(offset, [at, bytes]));
      const error = yield* start(req, rw, mincnt);
      assert.equal([req.state, req.buf.b_flags & (B_BUSY | B_PHYS | B_SHADOW)], ['idle', 0]);
      return error;
    };
    assert.is(yield* refuse(-1, BASE, 512), EINVAL);
    assert.is(yield* refuse(0, BASE, 1024, atMost(512)), ENOTSUP);
    assert.is(yield* refuse(0, BASE + PAGE_SIZE, 512), EFAULT);
    assert.is(yield* refuse(0, BASE, 0), EFAULT);
    assert.is(yield* start(new AioReq(uioOf(0))), EFAULT);
    yield* as.mprotect(BASE, PAGE_SIZE, VM_READ);
    assert.is(yield* refuse(0, BASE, 512, undefined, B_READ), EACCES);
    assert.equal(disk.calls, []);
    const ready = new AioReq(uioOf(0, [BASE, 512]));
    assert.is(yield* start(ready, B_WRITE), 0);
    yield* solaris.aio_reap(ready);
  });
});

test('APHYS-01 the pages stay locked until the request is reaped', async () => {
  const { solaris, disk, start } = await device();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 2);
    const page = must(as.pageTable.page(BASE + PAGE_SIZE));
    const reqs = [0, 1, 2].map((i) => new AioReq(uioOf(512 * i, [BASE + PAGE_SIZE + 512 * i, 512])));
    for (const req of reqs) assert.is(yield* start(req), 0);
    assert.equal([disk.open, solaris.page_lock_count(page)], [3, 3]);
    yield* pause(solaris);
    assert.equal([disk.open, solaris.page_lock_count(page)], [0, 3]); // ended, and still locked
    for (const req of reqs) {
      assert.is(req.state, 'done');
      yield* solaris.aio_reap(req);
    }
    assert.is(solaris.page_lock_count(page), 0);
    assert.is(as.holdCallbacks.length, 0);
    assert.equal(yield* peek(solaris, as, BASE + PAGE_SIZE, 1536), disk.bytes.subarray(0, 1536));
  });
});

test('APHYS-01 a result is bytes, or -1 and the error', async () => {
  const { solaris, disk, start } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    disk.endings.push({ resid: 512 }, { error: ENXIO, resid: 1024 }, { resid: 1024 });
    const results: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      const req = new AioReq(uioOf(0, [BASE, 1024]));
      assert.is(yield* start(req), 0);
      results.push(yield* solaris.aio_reap(req));
    }
    assert.equal(results, [
      { aio_return: 512, aio_errno: 0 },
      { aio_return: -1, aio_errno: ENXIO },
      { aio_return: 0, aio_errno: 0 },
    ]);
  });
});

test('APHYS-01 who unmaps the memory waits for the end, and unlocks it without reaping', async () => {
  const { solaris, disk, start } = await device();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    const page = must(as.pageTable.page(BASE));
    const req = new AioReq(uioOf(0, [BASE, 512]));
    disk.endings.push({ resid: 12 });
    assert.is(yield* start(req), 0);
    assert.is(yield* as.munmap(BASE, PAGE_SIZE), 0);
    assert.equal([disk.open, req.state, solaris.page_lock_count(page)], [0, 'done', 0]);
    assert.equal(yield* solaris.aio_reap(req), { aio_return: 500, aio_errno: 0 });
  });
});

test('APHYS-01 a process may end without reaping', async () => {
  const { solaris, disk, start } = await device();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 2);
    for (let i = 0; i < 3; i++) assert.is(yield* start(new AioReq(uioOf(0, [BASE + 100 * i, 512]))), 0);
    assert.is(disk.open, 3);
  }); // which checks that all memory comes back
  assert.is(disk.open, 0);
});

test('APHYS-01 a transfer that never ends blocks who reaps it', async () => {
  const { solaris, disk, start } = await device();
  disk.endings.push({ lost: true });
  const report = assertDeadlock(() =>
    asUser(solaris, function* (as) {
      yield* map(as, BASE, 1);
      const req = new AioReq(uioOf(0, [BASE, 512]));
      yield* start(req);
      yield* solaris.aio_reap(req);
    }),
  );
  assert.match(JSON.stringify(report), /the end of an asynchronous transfer/);
});

test('APHYS-01 only anocancel cancels, with ENXIO; anything else panics', async () => {
  const { solaris, disk } = await device();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 1);
    const req = new AioReq(uioOf(0, [BASE, 512]));
    assert.is(solaris.anocancel(req.buf), ENXIO);
  });
  assertBug('APHYS-01', () =>
    asUser(solaris, function* (as) {
      yield* map(as, BASE, 1);
      const req = new AioReq(uioOf(0, [BASE, 512]));
      yield* solaris.aphysio(disk.strategy, () => 0, DEV, B_READ, solaris.minphys, req);
    }),
  );
});

test('APHYS-01 a request twice, reaped without a transfer, or ended twice is a bug', async () => {
  const run = async (body: (device: Device, req: AioReq) => Sleeps<void>): Promise<() => unknown> => {
    const dev = await device();
    return () =>
      asUser(dev.solaris, function* (as) {
        yield* map(as, BASE, 1);
        yield* body(dev, new AioReq(uioOf(0, [BASE, 512])));
      });
  };
  assertBug(
    'APHYS-01',
    await run(function* ({ start }, req) {
      yield* start(req);
      yield* start(req);
    }),
  );
  assertBug(
    'APHYS-01',
    await run(function* ({ solaris }, req) {
      yield* solaris.aio_reap(req);
    }),
  );
  assertBug(
    'BIO-03',
    await run(function* ({ solaris, start }, req) {
      yield* start(req);
      yield* pause(solaris);
      solaris.bioerror(req.buf, EIO);
      solaris.biodone(req.buf);
    }),
  );
});

test('APHYS-01 memory of the kernel', async () => {
  const { solaris, disk, start } = await device();
  inThread(solaris, function* () {
    const cookiep = new Pointer<UmemCookie>();
    const address = must(yield* solaris.ddi_umem_alloc(PAGE_SIZE, DDI_UMEM_SLEEP, cookiep));
    const uio = uioOf(2048, [address, 1024]);
    uio.uio_segflg = UIO_SYSSPACE;
    const req = new AioReq(uio);
    assert.is(yield* start(req), 0);
    assert.is(req.buf.b_proc, null);
    assert.equal(yield* solaris.aio_reap(req), { aio_return: 1024, aio_errno: 0 });
    const bytes = new Uint8Array(1024);
    solaris.kernel.kas.read(address, bytes);
    assert.equal(bytes, disk.bytes.subarray(2048, 3072));
    solaris.ddi_umem_free(cookiep.value);
  });
});
