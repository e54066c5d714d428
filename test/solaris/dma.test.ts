// Handles, attributes, binding and its return codes, resource call-backs (sections 12, 13 and 16 of the specification).

import {
  type AddressSpace,
  PAGE_SIZE,
  type Page,
  type Sleeps,
  VM_READ,
  VM_WRITE,
} from '../../src/kernel/index.ts';
import {
  B_READ,
  COPYBUF_TAG,
  DDI_DMA_BADATTR,
  DDI_DMA_CALLBACK_DONE,
  DDI_DMA_CALLBACK_RUNOUT,
  DDI_DMA_DONTWAIT,
  DDI_DMA_FLAGERR,
  DDI_DMA_FORCE_PHYSICAL,
  DDI_DMA_INUSE,
  DDI_DMA_MAPPED,
  DDI_DMA_NOMAPPING,
  DDI_DMA_NORESOURCES,
  DDI_DMA_READ,
  DDI_DMA_RELAXED_ORDERING,
  DDI_DMA_SLEEP,
  DDI_DMA_TOOBIG,
  DDI_DMA_WRITE,
  DDI_SUCCESS,
  DDI_UMEM_SLEEP,
  DDI_UMEMLOCK_READ,
  type DdiDmaAttr,
  DdiDmaCookie,
  type DdiDmaHandle,
  Pointer,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { assertBug } from '../kernel/help.ts';
import { assert, suite } from '../run/suite.ts';
import {
  alloc,
  apart,
  attr,
  bind,
  bindPartial,
  GIB4,
  high,
  NO_LIMIT,
  now,
  type Rig,
  rig,
  run,
} from './dma-rig.ts';

const test = suite('solaris dma');

const A = 0x10000000;

function allocCode(r: Rig, of: DdiDmaAttr | null): number {
  const handlep = new Pointer<DdiDmaHandle>();
  return now(r.solaris, r.solaris.ddi_dma_alloc_handle(r.dip, of, DDI_DMA_DONTWAIT, null, handlep));
}

/** Runs a body as a kernel thread and returns its value. */
function inThread<T>(r: Rig, body: () => Sleeps<T>): T {
  return r.solaris.kernel.scheduler.complete('test', body);
}

/** Lets what is pending happen. */
function settle(r: Rig): void {
  inThread(r, function* () {
    yield* r.solaris.kernel.scheduler.delay(1000);
  });
}

test('HDL-01 no attributes are bad, and the handle has its own copy', async () => {
  const r = await rig({ pages: apart(A, 2) });
  assert.is(allocCode(r, null), DDI_DMA_BADATTR);
  const mine = { ...attr(), dma_attr_sgllen: 2 };
  const handle = alloc(r.solaris, r.dip, mine);
  mine.dma_attr_sgllen = 1;
  mine.dma_attr_burstsizes = 1;
  assert.is(r.solaris.ddi_dma_burstsizes(handle), attr().dma_attr_burstsizes);
  assert.is(bind({ ...r, handle }), DDI_DMA_MAPPED);
});

test('HDL-02 attributes that contradict themselves', async () => {
  const r = await rig({ pages: run(A, 1) });
  for (const bad of [
    { seg: 0x7ff },
    { seg: 0xffff_f7ff },
    { count_max: 0xffe },
    { granular: 0 },
    { granular: 4097 },
    { maxxfer: 4095 },
    { addr_lo: 0x1000, addr_hi: 0x1000 },
    { addr_lo: 0x2000, addr_hi: 0x1000 },
    { sgllen: 0 },
    { maxxfer: 4100, granular: 4095 }, // cookies of 4095 bytes
    { flags: 0x8000, seg: 0xffffffff, addr_hi: 0xfffffff },
  ]) {
    assert.is(allocCode(r, attr(bad)), DDI_DMA_BADATTR, JSON.stringify(bad));
  }
  for (const good of [
    { seg: 0xfff },
    { count_max: 0xfff },
    { granular: 520 },
    { granular: 4096 },
    { maxxfer: 4096 },
    { sgllen: -1 },
    { align: 0, burstsizes: 0, minxfer: 0, version: 9 },
    { seg: NO_LIMIT, count_max: NO_LIMIT, maxxfer: NO_LIMIT, addr_hi: NO_LIMIT },
  ]) {
    assert.is(allocCode(r, attr(good)), DDI_SUCCESS, JSON.stringify(good));
  }
});

test('HDL-04 the longest cookie is the least of segment, count_max and maxxfer, 4 GiB less one at most', async () => {
  const r = await rig({ pages: run(A, 1) });
  const cookie = (of: { [name: string]: number }): number => alloc(r.solaris, r.dip, attr(of)).limits.cookie;
  assert.is(cookie({ seg: 0xffff }), 0x10000);
  assert.is(cookie({ count_max: 0x1fff }), 0x2000);
  assert.is(cookie({ maxxfer: 0x2b00, granular: 512 }), 0x2a00);
  assert.is(cookie({ seg: NO_LIMIT, count_max: NO_LIMIT, maxxfer: NO_LIMIT }), 0xffffffff);
});

test('HDL-05 flags that mean nothing here, and the burst sizes', async () => {
  const flags = DDI_DMA_FORCE_PHYSICAL | DDI_DMA_RELAXED_ORDERING | DDI_DMA_FLAGERR;
  const r = await rig({ pages: run(A, 1), attr: { flags, burstsizes: 0x3f } });
  assert.is(bind(r), DDI_DMA_MAPPED);
  assert.is(r.solaris.ddi_dma_burstsizes(r.handle), 0x3f);
});

test('HDL-06 CB-02 no memory for a handle: DONTWAIT fails, a function is called later, SLEEP waits', async () => {
  const r = await rig({ pages: run(A, 1) });
  const { kernel, ddi_dma_alloc_handle, ddi_dma_free_handle, dma_waiting } = r.solaris;
  const handlep = new Pointer<DdiDmaHandle>();
  kernel.kmemFailures.failAll();
  assert.is(allocCode(r, attr()), DDI_DMA_NORESOURCES);
  assert.is(dma_waiting(), 0);
  const called: number[] = [];
  const callback = (arg: number): number => {
    called.push(arg);
    return DDI_DMA_CALLBACK_DONE;
  };
  assert.is(now(r.solaris, ddi_dma_alloc_handle(r.dip, attr(), callback, 7, handlep)), DDI_DMA_NORESOURCES);
  assert.is(dma_waiting(), 1);
  const spare = new Pointer<DdiDmaHandle>();
  spare.value = r.handle;
  ddi_dma_free_handle(spare);
  settle(r);
  assert.equal(called, [7]);
  kernel.scheduler.spawn('relief', function* () {
    yield* kernel.scheduler.delay(5e9);
    kernel.kmemFailures.off();
  });
  const code = inThread(r, () => ddi_dma_alloc_handle(r.dip, attr(), DDI_DMA_SLEEP, null, handlep));
  assert.is(code, DDI_SUCCESS);
  assert.ok(kernel.machine.now() >= 5e9);
});

test('HDL-07 a handle can be used again after unbinding and after a failure', async () => {
  const r = await rig({ pages: apart(A, 2), attr: { sgllen: 1 } });
  assert.is(bind(r), DDI_DMA_TOOBIG);
  for (let i = 0; i < 3; i++) {
    bindPartial(r);
    r.solaris.ddi_dma_unbind_handle(r.handle);
  }
  assert.equal([...r.solaris.dma_bound()], []);
});

test('HDL-08 a bound handle is not freed, the variable keeps it, and a freed one is not used', async () => {
  const r = await rig({ pages: run(A, 1) });
  const handlep = new Pointer<DdiDmaHandle>();
  handlep.value = r.handle;
  bind(r);
  assertBug('HDL-08', () => r.solaris.ddi_dma_free_handle(handlep));
  r.solaris.ddi_dma_unbind_handle(r.handle);
  r.solaris.ddi_dma_free_handle(handlep);
  assert.is(handlep.value, r.handle);
  assert.is(r.solaris.kmem_in_use().get('ddi_dma_handle'), undefined);
  assertBug('HDL-08', () => bind(r));
  assertBug('HDL-08', () => r.solaris.ddi_dma_free_handle(handlep));
});

test('BIND-01 no bytes: NOMAPPING by address, MAPPED with no cookies by buf', async () => {
  const r = await rig({ pages: run(A, 1), length: 0 });
  const { ddi_dma_addr_bind_handle: byAddress, ddi_dma_buf_bind_handle: byBuf } = r.solaris;
  const nothing = byAddress(r.handle, null, 0, 0, DDI_DMA_WRITE, DDI_DMA_DONTWAIT, null, null, null);
  assert.is(now(r.solaris, nothing), DDI_DMA_NOMAPPING);
  const count = new Pointer<number>();
  const empty = byBuf(r.handle, r.buf, DDI_DMA_WRITE, DDI_DMA_DONTWAIT, null, null, count);
  assert.equal([now(r.solaris, empty), count.value], [DDI_DMA_MAPPED, 0]);
  assert.is(r.solaris.ddi_dma_sync(r.handle, 0, 0, 0), DDI_SUCCESS);
  assert.is(r.solaris.ddi_dma_unbind_handle(r.handle), DDI_SUCCESS);
});

test('BIND-02 only 32 bits of the size count', async () => {
  const r = await rig({ pages: run(A, 1), length: GIB4 + 0x10 });
  assert.is(bind(r), DDI_DMA_MAPPED);
  assert.is(r.solaris.ddi_dma_cookie_one(r.handle).dmac_size, 0x10);
});

test('BIND-03 the flags say the direction, not the buf; a warning is given', async () => {
  const r = await rig({ pages: high(1) });
  r.buf.b_flags |= B_READ;
  r.memory.fill(GIB4, 1, 4096);
  bind(r, DDI_DMA_WRITE);
  assert.is(r.memory.read8(r.handle.binding?.copies[0]?.phys ?? 0), 1);
  assert.ok(r.solaris.kernel.warnings.all.some(({ rule }) => rule === 'BIND-03'));
  r.solaris.ddi_dma_unbind_handle(r.handle);
  assertBug('BIND-03', () => bind(r, 0));
});

test('BIND-04 BIND-05 a locked user buffer: by its list, by its address, by the kernel’s after bp_mapin', async () => {
  const r = await rig({ pages: run(A, 1), attr: { addr_hi: NO_LIMIT } });
  const { solaris } = r;
  const frames: number[] = [];
  const bound: number[][] = [];
  solaris.kernel.scheduler.run({
    until: solaris.kernel.spawnProcess('user', function* (_proc, as) {
      yield* useMemory(r, as, frames, bound);
    }),
  });
  assert.is(bound.length, 4);
  for (const cookies of bound) assert.equal(cookies, frames);
  assert.equal(
    solaris.kernel.warnings.all.filter(({ rule }) => rule === 'BIND-05'),
    [],
  );
});

/** Locks two pages and binds them in each of the ways; where they are, and the pages of the cookies. */
function* useMemory(r: Rig, as: AddressSpace, frames: number[], bound: number[][]): Sleeps<void> {
  const { solaris } = r;
  const { vm } = solaris.kernel;
  const at = yield* as.mmap({ address: 0x100000, length: 2 * PAGE_SIZE, prot: VM_READ | VM_WRITE });
  yield* vm.userCopy.toUser(as, at, new Uint8Array(2 * PAGE_SIZE));
  const cookiep = new Pointer<UmemCookie>();
  assert.is(yield* solaris.ddi_umem_lock(at, 2 * PAGE_SIZE, DDI_UMEMLOCK_READ, cookiep), 0);
  const cookie = cookiep.value as UmemCookie;
  const bp = yield* solaris.ddi_umem_iosetup(cookie, 0, 2 * PAGE_SIZE, 0x100, 0, 0, null, DDI_UMEM_SLEEP);
  if (bp === null) throw new Error('no buf');
  frames.push(...[0, 1].map((i) => (as.pageTable.page(at + i * PAGE_SIZE) as Page).phys));
  const note = (code: number): void => {
    assert.is(code, DDI_DMA_MAPPED);
    const pages = r.handle.binding?.cookies.flatMap(({ dmac_laddress, dmac_size }) =>
      run(dmac_laddress, dmac_size / PAGE_SIZE),
    );
    bound.push(pages ?? []);
    solaris.ddi_dma_unbind_handle(r.handle);
  };
  const byBuf = () =>
    solaris.ddi_dma_buf_bind_handle(r.handle, bp, DDI_DMA_WRITE, DDI_DMA_DONTWAIT, null, null, null);
  const { b_shadow, b_flags } = bp;
  note(yield* byBuf()); // by the list
  bp.b_shadow = null;
  bp.b_flags = b_flags & ~0x200000;
  note(yield* byBuf()); // by the address
  yield* solaris.bp_mapin(bp);
  note(yield* byBuf()); // by the kernel's
  solaris.bp_mapout(bp);
  bp.b_shadow = b_shadow;
  bp.b_flags = b_flags;
  note(
    yield* solaris.ddi_dma_addr_bind_handle(
      r.handle,
      as,
      at,
      2 * PAGE_SIZE,
      DDI_DMA_WRITE,
      DDI_DMA_DONTWAIT,
      null,
      null,
      null,
    ),
  );
  solaris.freerbuf(bp);
  solaris.ddi_umem_unlock(cookie);
}

test('BIND-05 memory that is not there is a bug, memory that nobody locked a warning', async () => {
  const r = await rig({ pages: run(A, 1) });
  const { solaris } = r;
  const user = solaris.kernel.spawnProcess('user', function* (_proc, as) {
    const at = yield* as.mmap({ address: 0x100000, length: PAGE_SIZE, prot: VM_READ | VM_WRITE });
    const byAddress = () =>
      solaris.ddi_dma_addr_bind_handle(
        r.handle,
        as,
        at,
        1,
        DDI_DMA_WRITE,
        DDI_DMA_DONTWAIT,
        null,
        null,
        null,
      );
    assertBug('BIND-05', byAddress);
    yield* solaris.kernel.vm.userCopy.toUser(as, at, new Uint8Array(1));
    assert.is(yield* byAddress(), DDI_DMA_MAPPED);
    solaris.ddi_dma_unbind_handle(r.handle);
  });
  solaris.kernel.scheduler.run({ until: user });
  assert.ok(solaris.kernel.warnings.all.some(({ rule }) => rule === 'BIND-05'));
});

test('BIND-06 a misaligned buffer is bound as it lies; a warning is given', async () => {
  const r = await rig({ pages: run(A, 2), offset: 3, length: 0x100, attr: { align: 512, minxfer: 512 } });
  assert.is(bind(r), DDI_DMA_MAPPED);
  assert.is(r.solaris.ddi_dma_cookie_one(r.handle).dmac_laddress, A + 3);
  assert.ok(r.solaris.kernel.warnings.all.some(({ rule }) => rule === 'BIND-06'));
});

test('BIND-07 a bound handle is in use, and its binding undisturbed', async () => {
  const r = await rig({ pages: high(1), read: true });
  bind(r, DDI_DMA_READ);
  r.memory.fill(r.handle.binding?.copies[0]?.phys ?? 0, 9, 4096);
  assert.is(bind(r, DDI_DMA_WRITE), DDI_DMA_INUSE);
  r.solaris.ddi_dma_unbind_handle(r.handle);
  assert.is(r.memory.read8(GIB4), 9);
});

test('BIND-15 the copy buffer is within the handle’s addresses', async () => {
  const r = await rig({ pages: high(4), attr: { addr_lo: 0x20000, addr_hi: 0xffffff } });
  bind(r);
  for (const { phys } of r.handle.binding?.copies ?? []) assert.ok(phys >= 0x20000 && phys < 0x1000000);
  const narrow = await rig({ pages: high(1), attr: { addr_hi: 0xfffffe } }); // Q10
  assert.is(bind(narrow), DDI_DMA_NORESOURCES);
});

test('BIND-16 BIND-15 NORESOURCES comes before TOOBIG', async () => {
  const r = await rig({ pages: high(2), attr: { sgllen: 1 } });
  const { failures } = r.solaris.kernel.allocator;
  failures.set({ after: 1 });
  assert.is(bind(r), DDI_DMA_NORESOURCES);
  failures.off();
  assert.is(bind(r), DDI_DMA_TOOBIG);
  assert.is(r.solaris.kernel.allocator.usage().get(COPYBUF_TAG), undefined);
});

test('UNB-02 nothing is bound: a bug', async () => {
  const r = await rig({ pages: run(A, 1) });
  assertBug('UNB-02', () => r.solaris.ddi_dma_unbind_handle(r.handle));
});

test('UNB-03 the buf stays, and may not be freed while it is bound', async () => {
  const r = await rig({ pages: run(A, 1) });
  bind(r);
  assert.is(r.buf.bindings, 1);
  assert.throws(() => r.solaris.freerbuf(r.buf));
  r.solaris.ddi_dma_unbind_handle(r.handle);
  assert.equal([r.buf.bindings, r.buf.b_bcount], [0, 4096]);
  r.solaris.freerbuf(r.buf);
});

// ---- resource call-backs

/** Binds with a function to be called, while there is no copy buffer. */
function bindLater<A>(r: Rig, callback: (arg: A) => number, arg: A): number {
  const { allocator } = r.solaris.kernel;
  allocator.failures.failAll();
  const { ddi_dma_buf_bind_handle: byBuf } = r.solaris;
  const code = now(r.solaris, byBuf(r.handle, r.buf, DDI_DMA_WRITE, callback, arg, null, null));
  allocator.failures.off();
  return code;
}

/** Unbinds something, which has the call-backs called. */
function trigger(r: Rig): void {
  const handle = alloc(r.solaris, r.dip, attr());
  const other = { ...r, handle };
  assert.is(bind(other), DDI_DMA_MAPPED);
  r.solaris.ddi_dma_unbind_handle(handle);
}

test('CB-01 CB-04 a function is called with its argument, in interrupt context, not inline', async () => {
  const r = await rig({ pages: high(1) });
  const called: string[] = [];
  const callback = (arg: string): number => {
    called.push(arg);
    assert.ok(r.solaris.kernel.cpu.inInterrupt);
    return DDI_DMA_CALLBACK_DONE;
  };
  assert.is(bindLater(r, callback, 'mine'), DDI_DMA_NORESOURCES);
  settle(r);
  assert.equal(called, []); // nothing was given back
  trigger(r);
  trigger(r);
  assert.equal(called, []);
  settle(r);
  assert.equal(called, ['mine']);
  assert.is(r.solaris.dma_waiting(), 0);
});

test('CB-04 triggers before a run are one run: unbinding, and freeing a handle', async () => {
  const r = await rig({ pages: high(1) });
  let calls = 0;
  const callback = (): number => {
    calls++;
    return DDI_DMA_CALLBACK_RUNOUT; // would be called in every run
  };
  bindLater(r, callback, null);
  trigger(r);
  trigger(r);
  const handlep = new Pointer<DdiDmaHandle>();
  handlep.value = alloc(r.solaris, r.dip, attr());
  r.solaris.ddi_dma_free_handle(handlep);
  settle(r);
  assert.is(calls, 1);
  settle(r);
  assert.is(calls, 1); // not again by itself
  trigger(r);
  settle(r);
  assert.is(calls, 2);
});

test('CB-02 TOOBIG, INUSE and NOMAPPING register nothing', async () => {
  const r = await rig({ pages: high(3), offset: 0x100, attr: { sgllen: 1, granular: 512 } });
  const callback = (): number => DDI_DMA_CALLBACK_DONE;
  const code = (flags: number): number =>
    now(r.solaris, r.solaris.ddi_dma_buf_bind_handle(r.handle, r.buf, flags, callback, null, null, null));
  assert.is(code(DDI_DMA_WRITE), DDI_DMA_TOOBIG);
  assert.is(code(DDI_DMA_WRITE | 8), DDI_DMA_NOMAPPING);
  r.buf.b_bcount = 0x100;
  assert.is(code(DDI_DMA_WRITE), DDI_DMA_MAPPED);
  assert.is(code(DDI_DMA_WRITE), DDI_DMA_INUSE);
  assert.is(r.solaris.dma_waiting(), 0);
});

test('CB-03 first in, first out; the same function and argument again is called once more', async () => {
  const r = await rig({ pages: high(1) });
  const called: number[] = [];
  const callback = (arg: number): number => {
    called.push(arg);
    return DDI_DMA_CALLBACK_DONE;
  };
  for (const arg of [1, 2, 1, 3]) bindLater(r, callback, arg);
  assert.is(r.solaris.dma_waiting(), 4);
  trigger(r);
  settle(r);
  assert.equal(called, [1, 1, 2, 3]);
});

test('CB-05 RUNOUT goes to the end with what is left of its count, for the next run', async () => {
  const r = await rig({ pages: high(1) });
  const called: number[] = [];
  let runout = true;
  const callback = (arg: number): number => {
    called.push(arg);
    return arg === 1 && runout ? DDI_DMA_CALLBACK_RUNOUT : DDI_DMA_CALLBACK_DONE;
  };
  for (const arg of [1, 1, 2]) bindLater(r, callback, arg);
  trigger(r);
  settle(r);
  assert.equal([called, r.solaris.dma_waiting()], [[1, 2], 2]);
  runout = false;
  bindLater(r, callback, 3);
  trigger(r);
  settle(r);
  assert.equal(called, [1, 2, 1, 1, 3]);
});

test('CB-06 who binds again without success and says RUNOUT is queued twice', async () => {
  const r = await rig({ pages: high(1) });
  const again = (): number => {
    bindLater(r, again, null);
    return DDI_DMA_CALLBACK_RUNOUT;
  };
  bindLater(r, again, null);
  trigger(r);
  settle(r);
  assert.is(r.solaris.dma_waiting(), 2);
});

test('CB-07 HDL-06 SLEEP waits for the copy buffer, but not where there can be none', async () => {
  const r = await rig({ pages: high(1) });
  const { kernel, ddi_dma_buf_bind_handle: byBuf } = r.solaris;
  const sleep = (rig: Rig): number =>
    inThread(rig, () =>
      rig.solaris.ddi_dma_buf_bind_handle(
        rig.handle,
        rig.buf,
        DDI_DMA_WRITE,
        DDI_DMA_SLEEP,
        null,
        null,
        null,
      ),
    );
  kernel.allocator.failures.failAll();
  kernel.scheduler.spawn('relief', function* () {
    yield* kernel.scheduler.delay(3e9);
    kernel.allocator.failures.off();
  });
  assert.is(sleep(r), DDI_DMA_MAPPED);
  assert.ok(kernel.machine.now() >= 3e9);
  const never = await rig({ pages: high(1), attr: { addr_lo: 0x10000000, addr_hi: 0x1fffffff } });
  assert.is(sleep(never), DDI_DMA_NORESOURCES);
  assert.is(never.solaris.dma_waiting(), 0);
  r.solaris.ddi_dma_unbind_handle(r.handle);
  const cookie = new DdiDmaCookie();
  kernel.cpu.interrupt('test', 5, () =>
    assertBug('ctx-sleep', () => byBuf(r.handle, r.buf, DDI_DMA_WRITE, DDI_DMA_SLEEP, null, cookie, null)),
  );
});
