import { PAGE_SIZE } from '../../src/kernel/index.ts';
import {
  B_READ,
  DDI_UMEM_NOSLEEP,
  DDI_UMEM_PAGEABLE,
  DDI_UMEM_SLEEP,
  DDI_UMEM_TRASH,
  KMEM_NON_PAGEABLE,
  KMEM_PAGEABLE,
  Pointer,
  type SolarisApi,
  UMEM_TRASH,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, asUser, boot, filled, inInterrupt, inThread, locked, must, setup } from './help.ts';

const test = suite('solaris ddi_umem_alloc');

interface Got {
  readonly address: number | null;
  readonly cookie: UmemCookie | null;
}

function alloc(solaris: SolarisApi, size: number, flags: number): Got {
  const cookiep = new Pointer<UmemCookie>();
  cookiep.value = {} as UmemCookie; // what was there before
  const address = inThread(solaris, () => solaris.ddi_umem_alloc(size, flags, cookiep));
  return { address, cookie: cookiep.value };
}

const NOTHING: Got = { address: null, cookie: null };

test('UALLOC-01 UALLOC-02 nothing for size 0: no address and no cookie', async () => {
  const solaris = await boot();
  for (const flags of [DDI_UMEM_SLEEP, DDI_UMEM_NOSLEEP, DDI_UMEM_PAGEABLE, DDI_UMEM_TRASH])
    assert.equal(alloc(solaris, 0, flags), NOTHING);
  solaris.kernel.kmemFailures.failAll();
  assert.equal(alloc(solaris, 1, DDI_UMEM_NOSLEEP), NOTHING);
});

test('UALLOC-03 the size is rounded up to pages, and the whole of them can be used', async () => {
  const solaris = await boot();
  const { cookie } = alloc(solaris, 100, DDI_UMEM_SLEEP);
  assert.is(cookie?.size, PAGE_SIZE);
  inThread(solaris, function* () {
    const bp = yield* setup(solaris, must(cookie), 4000, 96);
    assert.is(bp.b_bcount, 96);
    solaris.freerbuf(bp);
    assert.is(
      yield* solaris.ddi_umem_iosetup(must(cookie), 4000, 97, B_READ, 0, 0, null, DDI_UMEM_SLEEP),
      null,
    );
  });
});

test('UALLOC-04 the memory is page aligned, zero, and the kernel own', async () => {
  const solaris = await boot({ placement: 'scatter', poison: true });
  const { address, cookie } = alloc(solaris, 3 * PAGE_SIZE, DDI_UMEM_SLEEP);
  assert.is(must(address) % PAGE_SIZE, 0);
  assert.is(cookie?.type, KMEM_NON_PAGEABLE);
  const bytes = new Uint8Array(3 * PAGE_SIZE).fill(0xff);
  assert.is(solaris.kernel.kas.read(must(address), bytes), bytes.length);
  assert.is(
    bytes.every((byte) => byte === 0),
    true,
  );
});

test('UALLOC-05 pageable memory is zero and not for transfers', async () => {
  const solaris = await boot();
  const { address, cookie } = alloc(solaris, 1, DDI_UMEM_PAGEABLE);
  assert.is(cookie?.type, KMEM_PAGEABLE);
  const bytes = new Uint8Array(PAGE_SIZE).fill(0xff);
  assert.is(solaris.kernel.kas.read(must(address), bytes), PAGE_SIZE);
  assert.is(
    bytes.every((byte) => byte === 0),
    true,
  );
  assert.is(
    inThread(solaris, () => solaris.ddi_umem_iosetup(must(cookie), 0, 1, B_READ, 0, 0, null, DDI_UMEM_SLEEP)),
    null,
  );
});

test('UALLOC-06 trash has no address but a cookie; with PAGEABLE it is a bug', async () => {
  const solaris = await boot();
  const free = solaris.kernel.allocator.freePages;
  const { address, cookie } = alloc(solaris, 5000, DDI_UMEM_TRASH);
  assert.is(address, null);
  assert.equal([cookie?.type, cookie?.size], [UMEM_TRASH, 8192]);
  assert.is(solaris.kernel.allocator.freePages, free);
  solaris.ddi_umem_free(cookie);
  assertBug('UALLOC-06', () => alloc(solaris, 1, DDI_UMEM_TRASH | DDI_UMEM_PAGEABLE));
  assert.is(solaris.kmem_in_use().size, 0);
});

test('UALLOC-07 without sleep it may fail, and nothing leaks; with sleep it waits for memory', async () => {
  const solaris = await boot();
  const { allocator, scheduler } = solaris.kernel;
  const free = allocator.freePages;
  allocator.failures.set({ after: 3 });
  assert.equal(alloc(solaris, 5 * PAGE_SIZE, DDI_UMEM_NOSLEEP), NOTHING);
  assert.is(allocator.freePages, free);
  assert.is(solaris.kmem_in_use().size, 0);
  const cookiep = new Pointer<UmemCookie>();
  allocator.failures.failAll();
  const task = scheduler.spawn('waiter', () =>
    solaris.ddi_umem_alloc(5 * PAGE_SIZE, DDI_UMEM_SLEEP, cookiep),
  );
  scheduler.run({ untilNs: scheduler.now() + 2e9 });
  assert.is(task.state, 'sleeping');
  allocator.failures.off();
  scheduler.run({ until: task });
  assert.ok(must(task.exitValue) > 0);
  solaris.ddi_umem_free(cookiep.value);
  assert.is(allocator.freePages, free);
});

test('UALLOC-08 nobody is charged', async () => {
  const solaris = await boot();
  const { proj0p, global_zone } = solaris.kernel;
  proj0p.max_locked_memory.limit = 0;
  global_zone.max_locked_memory.limit = 0;
  asUser(solaris, function* (_as, proc) {
    const cookiep = new Pointer<UmemCookie>();
    assert.ok(yield* solaris.ddi_umem_alloc(PAGE_SIZE, DDI_UMEM_SLEEP, cookiep));
    assert.is(proc.p_locked_mem, 0);
    solaris.ddi_umem_free(cookiep.value);
  });
  assert.equal([proj0p.max_locked_memory.usage, global_zone.max_locked_memory.usage], [0, 0]);
});

test('UALLOC-09 in an interrupt without sleep only; freeing is allowed anywhere', async () => {
  const solaris = await boot();
  const { scheduler } = solaris.kernel;
  const cookiep = new Pointer<UmemCookie>();
  const address = inInterrupt(solaris, () =>
    scheduler.atomic(solaris.ddi_umem_alloc(PAGE_SIZE, DDI_UMEM_NOSLEEP, cookiep)),
  );
  assert.ok(must(address) > 0);
  inInterrupt(solaris, () => solaris.ddi_umem_free(cookiep.value));
  assert.is(solaris.kernel.kas.pageAt(must(address)), null);
  assertBug('ctx-sleep', () =>
    inInterrupt(solaris, () => scheduler.atomic(solaris.ddi_umem_alloc(1, DDI_UMEM_SLEEP, cookiep))),
  );
});

test('UFREE-01 freeing NULL does nothing', async () => {
  const solaris = await boot();
  solaris.ddi_umem_free(null);
  assert.is(solaris.kmem_in_use().size, 0);
});

test('UFREE-02 freeing a cookie of locked memory unlocks it', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    const cookie = yield* locked(solaris, 1);
    solaris.ddi_umem_free(cookie);
    assertBug('UUNLOCK-06', () => solaris.ddi_umem_unlock(cookie));
  });
});

test('UFREE-03 freeing twice is a bug', async () => {
  const solaris = await boot();
  for (const flags of [DDI_UMEM_SLEEP, DDI_UMEM_PAGEABLE, DDI_UMEM_TRASH]) {
    const { cookie } = alloc(solaris, 1, flags);
    solaris.ddi_umem_free(cookie);
    assertBug('UFREE-03', () => solaris.ddi_umem_free(cookie));
  }
});

test('UFREE-04 freeing memory with bufs over it is not noticed then', async () => {
  const solaris = await boot();
  const { cookie } = alloc(solaris, PAGE_SIZE, DDI_UMEM_SLEEP);
  inThread(solaris, function* () {
    const bp = yield* setup(solaris, must(cookie), 0, 512);
    solaris.ddi_umem_free(cookie);
    assert.is(solaris.kernel.kas.pageAt(bp.b_un.b_addr), null);
    solaris.freerbuf(bp);
  });
});
