import {
  type AddressSpace,
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_referenced,
  type Sleeps,
  VM_READ,
  VM_WRITE,
  type VmaOps,
} from '../../src/kernel/index.ts';
import {
  DDI_UMEMLOCK_LONGTERM,
  DDI_UMEMLOCK_READ,
  DDI_UMEMLOCK_WRITE,
  EACCES,
  EFAULT,
  EINVAL,
  EIO,
  ENOMEM,
  Pointer,
  S_READ,
  S_WRITE,
  type SolarisApi,
  UMEM_LOCKED,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { diskFile } from '../kernel/files.ts';
import { assert, suite } from '../run/suite.ts';
import {
  assertBug,
  assertDeadlock,
  asUser,
  BASE,
  boot,
  filled,
  inInterrupt,
  inThread,
  locked,
  map,
  must,
  peek,
  poke,
  RW,
} from './help.ts';

const test = suite('solaris ddi_umem_lock');

/** Locks and returns the errno; a cookie that came is unlocked. */
function* tryLock(solaris: SolarisApi, addr: number, len: number, flags: number): Sleeps<number> {
  const cookiep = new Pointer<UmemCookie>();
  cookiep.value = {} as UmemCookie; // what was there before
  const error = yield* solaris.ddi_umem_lock(addr, len, flags, cookiep);
  assert.is(cookiep.value !== null, error === 0, 'a cookie only with success');
  if (cookiep.value !== null) solaris.ddi_umem_unlock(cookiep.value);
  return error;
}

function pageAt(as: AddressSpace, address: number): Page {
  return must(as.pageTable.page(address));
}

/** Starts something in another thread of the current process and lets it run as far as it comes. */
function* beside(solaris: SolarisApi, body: () => Sleeps<unknown>) {
  const { kernel } = solaris;
  const task = kernel.spawnProcess('beside', body, { proc: kernel.curproc });
  for (let i = 0; i < 5; i++) yield* kernel.scheduler.yieldNow();
  return task;
}

test('ULOCK-01 ULOCK-02 ULOCK-03 ULOCK-04 flags are READ or WRITE or both', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    for (const flags of [0, 4, 5, 6, 7, 8, 0x100])
      assert.is(yield* tryLock(solaris, BASE, PAGE_SIZE, flags), EINVAL);
    for (const flags of [DDI_UMEMLOCK_READ, DDI_UMEMLOCK_WRITE])
      assert.is(yield* tryLock(solaris, BASE, PAGE_SIZE, flags), 0);
    assert.is(yield* as.mprotect(BASE, PAGE_SIZE, VM_READ), 0);
    assert.is(yield* tryLock(solaris, BASE, PAGE_SIZE, DDI_UMEMLOCK_READ), 0);
    const both = DDI_UMEMLOCK_READ | DDI_UMEMLOCK_WRITE;
    assert.is(yield* tryLock(solaris, BASE, PAGE_SIZE, both), EACCES); // both means WRITE
  });
});

test('ULOCK-05 address and length are multiples of a page', async () => {
  const solaris = await boot();
  solaris.kernel.proj0p.max_locked_memory.limit = 0; // would be the next to refuse
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 2);
    assert.is(yield* tryLock(solaris, BASE + 1, PAGE_SIZE, DDI_UMEMLOCK_READ), EINVAL);
    assert.is(yield* tryLock(solaris, BASE, PAGE_SIZE - 1, DDI_UMEMLOCK_READ), EINVAL);
  });
});

test('ULOCK-07 ULOCK-09 a hole is EFAULT, nothing stays locked and the charge comes back', async () => {
  const solaris = await boot();
  const { max_locked_memory } = solaris.kernel.proj0p;
  max_locked_memory.limit = 2 ** 30;
  asUser(solaris, function* (as, proc) {
    yield* filled(solaris, as, 3);
    yield* as.munmap(BASE + PAGE_SIZE, PAGE_SIZE);
    for (const start of [BASE, BASE - PAGE_SIZE, BASE + PAGE_SIZE, 2 ** 50])
      assert.is(yield* tryLock(solaris, start, 2 * PAGE_SIZE, DDI_UMEMLOCK_READ), EFAULT);
    assert.is(solaris.page_lock_count(pageAt(as, BASE)), 0);
    assert.is(yield* as.munmap(BASE, PAGE_SIZE), 0); // nobody waits
    assert.equal([max_locked_memory.usage, proc.p_locked_mem], [0, 0]);
  });
});

test('ULOCK-08 no bytes are EFAULT, mapped or not', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    assert.is(yield* tryLock(solaris, BASE, 0, DDI_UMEMLOCK_READ), EFAULT);
    assert.is(yield* tryLock(solaris, BASE + PAGE_SIZE, 0, DDI_UMEMLOCK_READ), EFAULT);
  });
});

test('ULOCK-10 every page must allow the access', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 3);
    yield* as.mprotect(BASE + PAGE_SIZE, PAGE_SIZE, VM_READ);
    assert.is(yield* tryLock(solaris, BASE, 3 * PAGE_SIZE, DDI_UMEMLOCK_READ), 0);
    assert.is(yield* tryLock(solaris, BASE, 3 * PAGE_SIZE, DDI_UMEMLOCK_WRITE), EACCES);
    assert.is(solaris.page_lock_count(pageAt(as, BASE)), 0);
    yield* as.mprotect(BASE + PAGE_SIZE, PAGE_SIZE, VM_WRITE);
    assert.is(yield* tryLock(solaris, BASE, 3 * PAGE_SIZE, DDI_UMEMLOCK_WRITE), 0);
    assert.is(yield* tryLock(solaris, BASE, 3 * PAGE_SIZE, DDI_UMEMLOCK_READ), EACCES);
  });
});

test('ULOCK-11 what the file answers is the error', async () => {
  const solaris = await boot();
  const file = diskFile(solaris.kernel, 2 * PAGE_SIZE);
  asUser(solaris, function* (as) {
    yield* as.mmap({ address: BASE, length: 3 * PAGE_SIZE, prot: RW, shared: true, file: file.inode });
    file.failsToEnd.add(1);
    assert.is(yield* tryLock(solaris, BASE, 2 * PAGE_SIZE, DDI_UMEMLOCK_READ), EIO);
    file.failsToEnd.clear();
    assert.is(yield* tryLock(solaris, BASE, 2 * PAGE_SIZE, DDI_UMEMLOCK_READ), 0);
    assert.is(yield* tryLock(solaris, BASE, 3 * PAGE_SIZE, DDI_UMEMLOCK_READ), EFAULT); // beyond its end
    yield* solaris.kernel.vm.dropCache(file.inode);
  });
});

test('ULOCK-07 ULOCK-11 no memory for a page is ENOMEM, and nothing stays locked', async () => {
  const solaris = await boot();
  const { failures } = solaris.kernel.allocator;
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    yield* map(as, BASE + PAGE_SIZE, 1);
    const first = pageAt(as, BASE);
    failures.failAll();
    assert.is(yield* tryLock(solaris, BASE, 2 * PAGE_SIZE, DDI_UMEMLOCK_WRITE), ENOMEM);
    failures.off();
    assert.is(solaris.page_lock_count(first), 0);
    assert.is(yield* tryLock(solaris, BASE, 2 * PAGE_SIZE, DDI_UMEMLOCK_WRITE), 0);
  });
});

test('ULOCK-12 ULOCK-13 mappings side by side make one cookie', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as, proc) {
    yield* filled(solaris, as, 1);
    yield* filled(solaris, as, 2, BASE + PAGE_SIZE);
    const cookie = yield* locked(solaris, 3);
    assert.equal([cookie.type, cookie.addr, cookie.size], [UMEM_LOCKED, BASE, 3 * PAGE_SIZE]);
    assert.is(cookie.flags, DDI_UMEMLOCK_WRITE);
    assert.is(cookie.proc, proc);
    assert.is(must(cookie.proc).p_as, as);
    for (let i = 0; i < 3; i++) assert.is(cookie.shadow?.page(i), pageAt(as, BASE + i * PAGE_SIZE));
    solaris.ddi_umem_unlock(cookie);
  });
});

test('ULOCK-14 a page list for anonymous memory that was touched, none for files', async () => {
  const solaris = await boot();
  const { inode } = diskFile(solaris.kernel, PAGE_SIZE);
  asUser(solaris, function* (as) {
    const listed = function* (address: number): Sleeps<boolean> {
      const cookie = yield* locked(solaris, 1, DDI_UMEMLOCK_WRITE, address);
      solaris.ddi_umem_unlock(cookie);
      return cookie.shadow !== null;
    };
    yield* map(as, BASE, 2);
    assert.is(yield* listed(BASE), false); // never touched: the first time by faults
    assert.is(yield* listed(BASE), true);
    assert.is(yield* listed(BASE + PAGE_SIZE), true); // it is the mapping that counts
    const shared = yield* as.mmap({ length: PAGE_SIZE, prot: RW, shared: true });
    assert.is(yield* listed(shared), true);
    for (const isShared of [true, false]) {
      const at = yield* as.mmap({ length: PAGE_SIZE, prot: RW, shared: isShared, file: inode });
      assert.is(yield* listed(at), false);
    }
    const device = yield* as.mmapPhys(0xf0000000, { length: PAGE_SIZE, prot: RW, shared: true });
    assert.is(yield* listed(device), false);
    yield* solaris.kernel.vm.dropCache(inode);
  });
});

test('ULOCK-15 copies on write are made when it is locked, even for reading', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  asUser(solaris, function* (as) {
    const bytes = yield* filled(solaris, as, 1);
    const child = must(yield* as.fork());
    const common = pageAt(as, BASE);
    assert.is(pageAt(child, BASE), common);
    const cookie = yield* locked(solaris, 1, DDI_UMEMLOCK_READ);
    assert.is.not(pageAt(as, BASE), common);
    assert.is(pageAt(child, BASE), common);
    assert.equal(kernel.memory.readBytes(pageAt(as, BASE).phys, PAGE_SIZE), bytes);
    solaris.ddi_umem_unlock(cookie);
    yield* child.drop();
    yield* map(as, BASE + PAGE_SIZE, 1);
    yield* peek(solaris, as, BASE + PAGE_SIZE, 1);
    assert.is(pageAt(as, BASE + PAGE_SIZE), kernel.vm.zeroPage);
    const zero = yield* locked(solaris, 1, DDI_UMEMLOCK_READ, BASE + PAGE_SIZE);
    assert.is.not(pageAt(as, BASE + PAGE_SIZE), kernel.vm.zeroPage);
    solaris.ddi_umem_unlock(zero);
  });
});

test('ULOCK-16 fork while locked: the child has copies, the locked pages stay', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  asUser(solaris, function* (as) {
    const bytes = yield* filled(solaris, as, 2);
    const cookie = yield* locked(solaris, 1);
    const page = pageAt(as, BASE);
    const child = must(yield* as.fork());
    assert.is(pageAt(as, BASE), page);
    for (const at of [BASE, BASE + PAGE_SIZE]) assert.is.not(pageAt(child, at), pageAt(as, at));
    kernel.memory.fill(page.phys, 0xdd, PAGE_SIZE); // the device
    assert.equal(yield* peek(solaris, as, BASE, 2), Uint8Array.of(0xdd, 0xdd));
    const task = kernel.spawnProcess('child', () => peek(solaris, child, BASE, PAGE_SIZE), { as: child });
    assert.equal(yield* kernel.scheduler.join(task), bytes.subarray(0, PAGE_SIZE));
    yield* poke(solaris, as, BASE, Uint8Array.of(1));
    assert.is(pageAt(as, BASE), page); // and no copy on write in the parent
    solaris.ddi_umem_unlock(cookie);
  });
});

test('ULOCK-17 who unmaps, protects or replaces any of the mapping waits', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    const changes: (() => Sleeps<unknown>)[] = [
      () => as.munmap(BASE, PAGE_SIZE),
      () => as.munmap(BASE + PAGE_SIZE, PAGE_SIZE), // not locked, but of the same mapping
      () => as.munmap(0, 2 ** 40), // exec
      () => as.mprotect(BASE, PAGE_SIZE, VM_READ),
      () => as.mmap({ address: BASE, length: PAGE_SIZE, prot: RW }),
    ];
    for (const change of changes) {
      yield* filled(solaris, as, 2);
      const cookie = yield* locked(solaris, 1);
      const task = yield* beside(solaris, change);
      assert.is(task.state, 'sleeping');
      solaris.ddi_umem_unlock(cookie);
      const result = yield* solaris.kernel.scheduler.join(task);
      assert.ok(result === 0 || result === BASE);
      yield* as.munmap(BASE, 2 * PAGE_SIZE);
    }
  });
});

test('ULOCK-17 UUNLOCK-07 a process that ends waits for its locks, and the kernel undoes none', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  let cookie: UmemCookie | null = null;
  const task = kernel.spawnProcess('user', function* (_proc, as) {
    yield* filled(solaris, as, 1);
    cookie = yield* locked(solaris, 1);
  });
  const report = assertDeadlock(() => kernel.scheduler.run({ until: task }));
  assert.match(report.tasks[0]?.what ?? '', 'held pages');
  assert.is(solaris.kmem_in_use().get('umem_cookie'), 1);
  inThread(solaris, function* () {
    solaris.ddi_umem_unlock(must(cookie));
  });
  kernel.scheduler.run({ until: task });
  assert.is(task.state, 'dead');
});

test('ULOCK-18 locks nest, and each unlock undoes its own', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 2);
    const cookies = [yield* locked(solaris, 2), yield* locked(solaris, 2), yield* locked(solaris, 1)];
    assert.is(solaris.page_lock_count(pageAt(as, BASE)), 3);
    assert.is(solaris.page_lock_count(pageAt(as, BASE + PAGE_SIZE)), 2);
    const task = yield* beside(solaris, () => as.munmap(BASE, 2 * PAGE_SIZE));
    for (const [i, cookie] of cookies.entries()) {
      assert.is(task.state, 'sleeping');
      solaris.ddi_umem_unlock(cookie);
      assert.is(solaris.page_lock_count(pageAt(as, BASE)), 2 - i);
    }
    yield* solaris.kernel.scheduler.join(task);
  });
});

test('ULOCK-19 locking leaves the bytes alone', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    const bytes = yield* filled(solaris, as, 3);
    const cookie = yield* locked(solaris, 3);
    assert.equal(yield* peek(solaris, as, BASE, bytes.length), bytes);
    solaris.ddi_umem_unlock(cookie);
    assert.equal(yield* peek(solaris, as, BASE, bytes.length), bytes);
  });
});

test('UUNLOCK-01 outside of interrupts all is undone before it returns', async () => {
  const solaris = await boot();
  solaris.kernel.proj0p.max_locked_memory.limit = 2 ** 30;
  asUser(solaris, function* (as, proc) {
    yield* filled(solaris, as, 1);
    const cookie = yield* locked(solaris, 1);
    solaris.ddi_umem_unlock(cookie);
    assert.is(solaris.page_lock_count(pageAt(as, BASE)), 0);
    assert.is(proc.p_locked_mem, 0);
    assert.is(solaris.kmem_in_use().size, 0);
  });
});

test('UUNLOCK-02 pages that were locked for writing are marked as changed', async () => {
  const solaris = await boot();
  const { inode } = diskFile(solaris.kernel, 2 * PAGE_SIZE);
  asUser(solaris, function* (as) {
    yield* as.mmap({ address: BASE, length: 2 * PAGE_SIZE, prot: RW, shared: true, file: inode });
    const marks = function* (flags: number, address: number): Sleeps<number> {
      const cookie = yield* locked(solaris, 1, flags, address);
      pageAt(as, address).clear(PG_dirty | PG_referenced);
      solaris.ddi_umem_unlock(cookie);
      return pageAt(as, address).flags & (PG_dirty | PG_referenced);
    };
    assert.is(yield* marks(DDI_UMEMLOCK_READ, BASE), PG_referenced);
    assert.is(yield* marks(DDI_UMEMLOCK_WRITE, BASE + PAGE_SIZE), PG_referenced | PG_dirty);
    yield* solaris.kernel.vm.dropCache(inode);
  });
});

test('UUNLOCK-03 ULOCK-23 in an interrupt it is put off: a thread unlocks first in, first out', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  kernel.proj0p.max_locked_memory.limit = 2 ** 30;
  asUser(solaris, function* (as, proc) {
    yield* filled(solaris, as, 2);
    const first = yield* locked(solaris, 1, DDI_UMEMLOCK_WRITE, BASE);
    const second = yield* locked(solaris, 1, DDI_UMEMLOCK_WRITE, BASE + PAGE_SIZE);
    const order: (Page | undefined)[] = [];
    kernel.onPagesUnlocked = (pages) => {
      order.push(...pages);
    };
    const pages = [first, second].map((cookie) => must(cookie.shadow?.page()));
    inInterrupt(solaris, () => {
      solaris.ddi_umem_unlock(first);
      solaris.ddi_umem_unlock(second);
    });
    assert.equal(pages.map(solaris.page_lock_count), [1, 1]);
    assert.is(proc.p_locked_mem, 2 * PAGE_SIZE); // still charged
    assertBug('UUNLOCK-06', () => solaris.ddi_umem_unlock(first));
    assert.is(yield* as.munmap(BASE, 2 * PAGE_SIZE), 0); // waits for the thread
    assert.is(order.length, 2);
    for (const [i, page] of order.entries()) assert.is(page, pages[i]);
    assert.is(proc.p_locked_mem, 0);
  });
});

test('UUNLOCK-04 UUNLOCK-06 not in a high-level interrupt, and once', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    const cookie = yield* locked(solaris, 1);
    assertBug('UUNLOCK-04', () => inInterrupt(solaris, () => solaris.ddi_umem_unlock(cookie), 11));
    solaris.ddi_umem_unlock(cookie);
    assertBug('UUNLOCK-06', () => solaris.ddi_umem_unlock(cookie));
  });
  const cookiep = new Pointer<UmemCookie>();
  inThread(solaris, () => solaris.ddi_umem_alloc(1, 0, cookiep));
  assertBug('UUNLOCK-06', () => solaris.ddi_umem_unlock(must(cookiep.value)));
});

test('UUNLOCK-05 unlocking knows of no bufs: it counts none and waits for none', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 1);
    const cookie = yield* locked(solaris, 1);
    const bp = must(yield* solaris.ddi_umem_iosetup(cookie, 0, 512, 0x40, 0, 0, null, 0));
    bp.bindings = 1;
    solaris.ddi_umem_unlock(cookie);
    assert.is(yield* as.munmap(BASE, PAGE_SIZE), 0);
    bp.bindings = 0;
    solaris.freerbuf(bp);
  });
});

test('locking is for processes, out of interrupts', async () => {
  const solaris = await boot();
  const cookiep = new Pointer<UmemCookie>();
  const lock = () => solaris.ddi_umem_lock(BASE, PAGE_SIZE, DDI_UMEMLOCK_READ, cookiep);
  assertBug('ctx-user', () => inThread(solaris, lock));
  assertBug('ctx-process', () => inInterrupt(solaris, () => solaris.kernel.scheduler.atomic(lock())));
});

test('umem_lockmemory: LONGTERM needs a cleanup, and the call-backs a version', async () => {
  const solaris = await boot();
  const { inode } = diskFile(solaris.kernel, PAGE_SIZE);
  asUser(solaris, function* (as, proc) {
    yield* filled(solaris, as, 1);
    const ops = {
      cbo_umem_callback_version: 1,
      *cbo_umem_lock_cleanup() {
        // nothing to clean up
      },
    };
    const long = DDI_UMEMLOCK_WRITE | DDI_UMEMLOCK_LONGTERM;
    const cookiep = new Pointer<UmemCookie>();
    const ask = (addr: number, flags: number, given: typeof ops | null) =>
      solaris.umem_lockmemory(addr, PAGE_SIZE, flags, cookiep, given, null);
    assert.is(yield* ask(BASE, long, null), EINVAL);
    assert.is(yield* ask(BASE, long | 8, ops), EINVAL);
    assert.is(yield* ask(BASE, long, { ...ops, cbo_umem_callback_version: 2 }), EINVAL);
    const none = { cbo_umem_callback_version: 1, cbo_umem_lock_cleanup: null };
    assert.is(yield* solaris.umem_lockmemory(BASE, PAGE_SIZE, long, cookiep, none, proc), EINVAL);
    const file = yield* as.mmap({ length: PAGE_SIZE, prot: RW, shared: true, file: inode });
    assert.is(yield* ask(file, long, ops), EFAULT);
    assert.is(yield* ask(file, DDI_UMEMLOCK_WRITE, ops), 0);
    solaris.ddi_umem_unlock(must(cookiep.value));
    const page = must(solaris.kernel.allocator.alloc({ zero: true }));
    const special: VmaOps = {
      *fault(_vma, vmf) {
        solaris.kernel.allocator.get(page);
        vmf.page = page;
        return 0;
      },
    };
    const at = yield* as.mmap({ length: PAGE_SIZE, prot: RW, ops: special });
    assert.is(yield* ask(at, long, ops), EFAULT);
    assert.is(solaris.page_lock_count(page), 0);
    const device = yield* as.mmapPhys(0xf0000000, { length: PAGE_SIZE, prot: RW, shared: true });
    assert.is(yield* ask(device, long, ops), 0);
    solaris.ddi_umem_unlock(must(cookiep.value));
    yield* as.munmap(at, PAGE_SIZE);
    solaris.kernel.allocator.put(page);
    assert.is(yield* ask(BASE, long, ops), 0);
    solaris.ddi_umem_unlock(must(cookiep.value));
    assert.equal(as.holdCallbacks, []);
    yield* solaris.kernel.vm.dropCache(inode);
  });
});

test('umem_lockmemory: the memory is that of the process which is named, whoever calls', async () => {
  const solaris = await boot();
  const { kernel } = solaris;
  asUser(solaris, function* (as, proc) {
    yield* filled(solaris, as, 1);
    const cookiep = new Pointer<UmemCookie>();
    const other = kernel.spawnProcess('other', () =>
      solaris.umem_lockmemory(BASE, PAGE_SIZE, DDI_UMEMLOCK_WRITE, cookiep, null, proc),
    );
    assert.is(yield* kernel.scheduler.join(other), 0);
    assert.is(cookiep.value?.proc, proc);
    assert.is(solaris.page_lock_count(pageAt(as, BASE)), 1);
    solaris.ddi_umem_unlock(must(cookiep.value));
    assert.is(solaris.page_lock_count(pageAt(as, BASE)), 0);
  });
});

test('umem_lockmemory: who unmaps calls the cleanup once, which may unlock, and waits', async () => {
  const solaris = await boot();
  const { scheduler } = solaris.kernel;
  for (const unlocksInside of [true, false]) {
    asUser(solaris, function* (as, proc) {
      yield* filled(solaris, as, 2);
      const calls: UmemCookie[] = [];
      const cookiep = new Pointer<UmemCookie>();
      const ops = {
        cbo_umem_callback_version: 1,
        *cbo_umem_lock_cleanup(cookie: UmemCookie): Sleeps<void> {
          calls.push(cookie);
          yield* scheduler.delay(1000);
          if (!unlocksInside) return;
          solaris.ddi_umem_unlock(cookie);
          assert.is(solaris.kmem_in_use().get('umem_cookie'), 1); // until the cleanup is over
        },
      };
      const flags = DDI_UMEMLOCK_WRITE | DDI_UMEMLOCK_LONGTERM;
      assert.is(yield* solaris.umem_lockmemory(BASE, PAGE_SIZE, flags, cookiep, ops, proc), 0);
      const cookie = must(cookiep.value);
      const task = yield* beside(solaris, () => as.munmap(BASE, 2 * PAGE_SIZE));
      yield* scheduler.delay(5000);
      assert.is(calls.length, 1);
      assert.is(calls[0], cookie);
      if (!unlocksInside) {
        assert.is(task.state, 'sleeping');
        solaris.ddi_umem_unlock(cookie);
      }
      assert.is(yield* scheduler.join(task), 0);
      assert.is(calls.length, 1);
    });
  }
});

test('PLOCK-01 the range is widened to pages, and what is empty then is EFAULT', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 2);
    const list = new Pointer<NonNullable<UmemCookie['shadow']>>();
    assert.is(yield* solaris.as_pagelock(as, list, BASE + 0xfff, 2, S_WRITE), 0);
    assert.is(list.value?.list.length, 2);
    solaris.as_pageunlock(as, list.value, BASE + 0xfff, 2, S_WRITE);
    assert.is(yield* solaris.as_pagelock(as, list, BASE, 0, S_WRITE), EFAULT);
    assert.is(list.value, null);
    assert.is(yield* solaris.as_pagelock(as, list, BASE - 1, 2, S_WRITE), EFAULT);
  });
});

test('PLOCK-02 to write it must be writable, to read readable, and a hole leaves nothing locked', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* filled(solaris, as, 3);
    const list = new Pointer<NonNullable<UmemCookie['shadow']>>();
    const tried = (rw: number) => solaris.as_pagelock(as, list, BASE, 3 * PAGE_SIZE, rw);
    assert.is(yield* as.mprotect(BASE + 2 * PAGE_SIZE, PAGE_SIZE, VM_READ), 0);
    assert.is(yield* tried(S_WRITE), EACCES);
    assert.is(yield* tried(S_READ), 0);
    solaris.as_pageunlock(as, list.value, BASE, 3 * PAGE_SIZE, S_READ);
    assert.is(yield* as.munmap(BASE + PAGE_SIZE, PAGE_SIZE), 0);
    for (const rw of [S_READ, S_WRITE]) assert.is(yield* tried(rw), EFAULT);
    assert.is(list.value, null);
    for (const at of [BASE, BASE + 2 * PAGE_SIZE]) assert.is(solaris.page_lock_count(pageAt(as, at)), 0);
  });
});

test('PLOCK-02 PLOCK-03 PLOCK-04 unlocking repeats the arguments of a lock, with its list or none', async () => {
  const solaris = await boot();
  asUser(solaris, function* (as) {
    yield* map(as, BASE, 2);
    const list = new Pointer<NonNullable<UmemCookie['shadow']>>();
    assert.is(yield* solaris.as_pagelock(as, list, BASE, PAGE_SIZE, S_WRITE), 0);
    assert.is(list.value, null); // locked, and found by address
    assert.ok(solaris.hat_getpfnum(as, BASE + 5) > 0);
    assert.is(solaris.hat_getpfnum(as, BASE + PAGE_SIZE), -1);
    solaris.as_pageunlock(as, null, BASE, PAGE_SIZE, S_WRITE);
    assertBug('PLOCK-03', () => solaris.as_pageunlock(as, null, BASE, PAGE_SIZE, S_WRITE));
    assert.is(yield* solaris.as_pagelock(as, list, BASE, PAGE_SIZE, S_WRITE), 0);
    for (const [given, addr, size, rw] of [
      [null, BASE, PAGE_SIZE, S_WRITE],
      [list.value, BASE + 1, PAGE_SIZE, S_WRITE],
      [list.value, BASE, PAGE_SIZE - 1, S_WRITE],
      [list.value, BASE, PAGE_SIZE, 1],
    ] as const)
      assertBug('PLOCK-03', () => solaris.as_pageunlock(as, given, addr, size, rw));
    solaris.as_pageunlock(as, list.value, BASE, PAGE_SIZE, S_WRITE);
    yield* as.mprotect(BASE, PAGE_SIZE, VM_READ);
    assert.is(yield* solaris.as_pagelock(as, list, BASE, 2 * PAGE_SIZE, S_WRITE), EACCES);
  });
});
