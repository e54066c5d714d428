import {
  type AddressSpace,
  EIO,
  FAULT_FLAG_ALLOW_RETRY,
  FAULT_FLAG_KILLABLE,
  FAULT_FLAG_RETRY_NOWAIT,
  FAULT_FLAG_TRIED,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_WRITE,
  Inode,
  type KernelBase,
  type MappingOps,
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_hwpoison,
  PG_locked,
  PG_uptodate,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_WRITE,
  SIGKILL,
  type Sleeps,
  VM_FAULT_HWPOISON,
  VM_FAULT_HWPOISON_LARGE,
  VM_FAULT_LOCKED,
  VM_FAULT_MAJOR,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  VM_FAULT_WRITE,
  VM_READ,
  VM_WRITE,
  type Vma,
  type VmaOps,
} from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { DISK_NS, diskFile, fileByte } from './files.ts';
import { assertBug, makeKernel } from './help.ts';

const test = suite('page faults');
const RW = VM_READ | VM_WRITE;

function inProcess<T>(kernel: KernelBase, body: (mm: AddressSpace) => Sleeps<T>): T {
  const task = kernel.spawnProcess('process', (_task, space) => body(space));
  kernel.scheduler.run({ until: task });
  return task.exitValue as T; // it ended
}

function areaAt(mm: AddressSpace, address: number): Vma {
  const vma = mm.vmaAt(address);
  if (vma === null) throw new Error('no area');
  return vma;
}

function pageAt(mm: AddressSpace, address: number): Page {
  const page = mm.pageTable.page(address);
  if (page === null) throw new Error('no page');
  return page;
}

/** One fault with mmap_sem held; it is released afterwards unless the fault did. */
function* fault(kernel: KernelBase, mm: AddressSpace, address: number, flags = 0): Sleeps<number> {
  yield* mm.mmapSem.read();
  const result = yield* kernel.vm.faults.handleMmFault(mm, areaAt(mm, address), address, flags);
  if (mm.mmapSem.heldBy(kernel.scheduler.current)) mm.mmapSem.unlockRead();
  return result;
}

function* poke(kernel: KernelBase, mm: AddressSpace, address: number, value: number): Sleeps<void> {
  assert.is(yield* kernel.vm.userCopy.toUser(mm, address, Uint8Array.of(value)), 1);
}

function* peek(kernel: KernelBase, mm: AddressSpace, address: number): Sleeps<number> {
  const bytes = new Uint8Array(1);
  return (yield* kernel.vm.userCopy.fromUser(mm, address, bytes)) === 1 ? (bytes[0] as number) : -1;
}

function cachedByte(kernel: KernelBase, inode: Inode, offset: number): number {
  const page = inode.mapping.find(Math.floor(offset / PAGE_SIZE));
  return page === null ? -1 : kernel.memory.read8(page.phys + (offset % PAGE_SIZE));
}

test('GUP-02 a fault without mmap_sem, or on an area of another process, is a bug', async () => {
  const kernel = await makeKernel();
  const other = kernel.vm.createSpace();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW });
    const { faults } = kernel.vm;
    assertBug('GUP-02', () => faults.handleMmFault(mm, areaAt(mm, at), at, 0).next());
    assertBug('vma-mm', () => faults.handleMmFault(other, areaAt(mm, at), at, 0).next());
  });
});

test('GUP-15 a write fault on the zero page gives a fresh zeroed page', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW });
    assert.is(yield* fault(kernel, mm, at), 0);
    assert.is(pageAt(mm, at), kernel.vm.zeroPage);
    assert.is(mm.pageTable.bits(at) & PTE_WRITE, 0);
    assert.is(yield* fault(kernel, mm, at, FAULT_FLAG_WRITE), VM_FAULT_WRITE);
    const page = pageAt(mm, at);
    assert.ok(page.anon && page.has(PG_uptodate));
    assert.is(page.count, 1);
    assert.is(page.mapcount, 1);
    assert.ok((mm.pageTable.bits(at) & (PTE_WRITE | PTE_DIRTY)) === (PTE_WRITE | PTE_DIRTY));
    assert.is(yield* fault(kernel, mm, at, FAULT_FLAG_WRITE), 0);
    assert.is(pageAt(mm, at), page);
  });
});

test('a write fault in a read-only private area makes the page private, not writable', async () => {
  const kernel = await makeKernel();
  const { inode } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: VM_READ, file: inode });
    assert.is(yield* fault(kernel, mm, at, FAULT_FLAG_WRITE), VM_FAULT_MAJOR);
    const page = pageAt(mm, at);
    assert.ok(page.anon);
    assert.is(mm.pageTable.bits(at) & PTE_WRITE, 0);
    assert.is(yield* fault(kernel, mm, at, FAULT_FLAG_WRITE), VM_FAULT_WRITE);
    assert.is(pageAt(mm, at), page);
    assert.ok((mm.pageTable.bits(at) & (PTE_WRITE | PTE_DIRTY)) === PTE_DIRTY);
  });
});

test('unsharing gives a page of its own, readable as before and not writable', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: RW });
    yield* fault(kernel, mm, at);
    yield* fault(kernel, mm, at, FAULT_FLAG_UNSHARE);
    assert.ok(pageAt(mm, at).anon);
    yield* poke(kernel, mm, at + PAGE_SIZE, 3);
    const child = yield* mm.fork();
    if (child === null) throw new Error('no memory');
    const shared = pageAt(mm, at + PAGE_SIZE);
    yield* fault(kernel, mm, at + PAGE_SIZE, FAULT_FLAG_UNSHARE);
    const own = pageAt(mm, at + PAGE_SIZE);
    assert.is.not(own, shared);
    assert.is(yield* peek(kernel, mm, at + PAGE_SIZE), 3);
    yield* poke(kernel, mm, at + PAGE_SIZE, 4);
    assert.is(pageAt(mm, at + PAGE_SIZE), own);
    yield* child.drop();
  });
});

test('a file is read once, a page at a time, and the faults are accounted as major and minor', async () => {
  const kernel = await makeKernel();
  const { inode, reads } = diskFile(kernel, 2 * PAGE_SIZE);
  const task = kernel.spawnProcess('process', function* (_self, mm) {
    const at = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: VM_READ, file: inode });
    const again = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: VM_READ, file: inode });
    assert.is(yield* peek(kernel, mm, at + PAGE_SIZE + 3), fileByte(PAGE_SIZE + 3));
    assert.is(kernel.scheduler.now(), DISK_NS);
    assert.is(yield* peek(kernel, mm, again + PAGE_SIZE), fileByte(PAGE_SIZE));
    assert.is(pageAt(mm, at + PAGE_SIZE).mapcount, 2);
    assert.is(yield* peek(kernel, mm, at), fileByte(0));
  });
  kernel.scheduler.run();
  assert.equal(reads, [1, 0]);
  assert.is(task.maj_flt, 2);
  assert.is(task.min_flt, 1);
});

test('GUP-16 a private file page is copied on write, the file keeps its own', async () => {
  const kernel = await makeKernel();
  const { inode } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode });
    assert.is(yield* peek(kernel, mm, at), fileByte(0));
    const page = pageAt(mm, at);
    yield* poke(kernel, mm, at, 0xee);
    assert.is.not(pageAt(mm, at), page);
    assert.is(yield* peek(kernel, mm, at + 1), fileByte(1));
    assert.is(cachedByte(kernel, inode, 0), fileByte(0));
    assert.is(page.mapcount, 0);
    assert.not.ok(page.has(PG_dirty));
  });
});

test('a private copy of a cached page is right even when making room drops the cache', async () => {
  const kernel = await makeKernel();
  const { inode } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const page = yield* kernel.vm.getPage(inode, 0);
    if (typeof page === 'number') throw new Error('not read');
    kernel.allocator.put(page);
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode });
    const hoard: Page[] = [];
    for (let free = kernel.allocator.freePages; free > 0; free--)
      hoard.push(kernel.allocator.alloc() as Page);
    assert.is(yield* fault(kernel, mm, at, FAULT_FLAG_WRITE), VM_FAULT_OOM);
    kernel.allocator.put(hoard.pop() as Page);
    assert.is(yield* fault(kernel, mm, at, FAULT_FLAG_WRITE), 0);
    assert.is(yield* peek(kernel, mm, at + 5), fileByte(5));
    for (const one of hoard) kernel.allocator.put(one);
  });
});

test('clean cached pages that nobody uses make room when memory is short', async () => {
  const kernel = await makeKernel();
  const { inode, reads } = diskFile(kernel, 4 * PAGE_SIZE);
  inProcess(kernel, function* () {
    const pages: Page[] = [];
    for (let index = 0; index < 4; index++) {
      const page = yield* kernel.vm.getPage(inode, index);
      if (typeof page === 'number') throw new Error('not read');
      pages.push(page);
    }
    kernel.locks.setDirty(pages[1] as Page);
    for (const page of pages.slice(0, 3)) kernel.allocator.put(page);
    const hoard: Page[] = [];
    for (let page = kernel.allocator.alloc(); page !== null; page = kernel.allocator.alloc())
      hoard.push(page);
    assert.equal([...inode.mapping.pages.keys()], [1, 3]);
    for (const page of hoard) kernel.allocator.put(page);
    const again = yield* kernel.vm.getPage(inode, 0);
    assert.is.not(typeof again, 'number');
  });
  assert.equal(reads, [0, 1, 2, 3, 0]);
});

test('GUP-17 a shared file page asks before the first write, and is dirty then', async () => {
  const kernel = await makeKernel();
  const asked: number[] = [];
  const { inode } = diskFile(kernel, PAGE_SIZE, {
    *pageMkwrite(_inode, page) {
      asked.push(page.index);
      assert.not.ok(page.has(PG_locked));
      return 0;
    },
  });
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode, shared: true });
    yield* peek(kernel, mm, at);
    const page = pageAt(mm, at);
    assert.equal(asked, []);
    yield* poke(kernel, mm, at, 1);
    yield* poke(kernel, mm, at, 2);
    assert.equal(asked, [0]);
    assert.is(pageAt(mm, at), page);
    assert.ok(page.has(PG_dirty));
    assert.not.ok(page.has(PG_locked));
    assert.is(cachedByte(kernel, inode, 0), 2);
    // Written out: the next write asks again.
    yield* kernel.locks.lock(page);
    assert.ok(kernel.vm.clearDirtyForIo(page));
    kernel.locks.unlock(page);
    assert.not.ok(page.has(PG_dirty));
    yield* poke(kernel, mm, at, 3);
    assert.equal(asked, [0, 0]);
    assert.ok(page.has(PG_dirty));
  });
});

test('GUP-17 a refusal to write is SIGBUS, and the page stays clean and read-only', async () => {
  const kernel = await makeKernel();
  for (const warm of [false, true]) {
    const ops: MappingOps = {
      *pageMkwrite() {
        return VM_FAULT_SIGBUS;
      },
    };
    const { inode } = diskFile(kernel, PAGE_SIZE, ops);
    inProcess(kernel, function* (mm) {
      const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode, shared: true });
      if (warm) yield* peek(kernel, mm, at);
      assert.ok(((yield* fault(kernel, mm, at, FAULT_FLAG_WRITE)) & VM_FAULT_SIGBUS) !== 0);
      const page = inode.mapping.find(0);
      assert.is(page?.count, warm ? 2 : 1);
      assert.not.ok(page?.has(PG_dirty) === true || page?.has(PG_locked) === true);
    });
  }
});

test('a page that is truncated while its file system is asked is not entered', async () => {
  const kernel = await makeKernel();
  const { inode } = diskFile(kernel, PAGE_SIZE, {
    *pageMkwrite(file) {
      yield* kernel.vm.truncate(file, 0);
      return 0;
    },
  });
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode, shared: true });
    yield* peek(kernel, mm, at);
    const before = kernel.allocator.usage().get('cache');
    assert.is(yield* fault(kernel, mm, at, FAULT_FLAG_WRITE), 0);
    assert.is(mm.pageTable.bits(at), 0);
    assert.is(yield* fault(kernel, mm, at, FAULT_FLAG_WRITE), VM_FAULT_SIGBUS);
    assert.is(before, 1);
    assert.is(kernel.allocator.usage().get('cache'), undefined);
  });
});

test('GUP-22 beyond the end of the file is SIGBUS, the rest of its last page is not', async () => {
  const kernel = await makeKernel();
  const { inode } = diskFile(kernel, PAGE_SIZE + 1);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 3 * PAGE_SIZE, prot: RW, file: inode });
    assert.is(yield* fault(kernel, mm, at + PAGE_SIZE + 4000), VM_FAULT_MAJOR);
    assert.is(yield* fault(kernel, mm, at + 2 * PAGE_SIZE), VM_FAULT_SIGBUS);
    assert.is(yield* fault(kernel, mm, at + 2 * PAGE_SIZE, FAULT_FLAG_WRITE), VM_FAULT_SIGBUS);
  });
});

test('GUP-22 a read that fails is SIGBUS, and the next fault tries again', async () => {
  const kernel = await makeKernel();
  const { inode, reads, failsToBegin, failsToEnd } = diskFile(kernel, 2 * PAGE_SIZE);
  failsToBegin.add(0);
  failsToEnd.add(1);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 3 * PAGE_SIZE, prot: VM_READ, file: inode });
    assert.is(yield* fault(kernel, mm, at), VM_FAULT_SIGBUS);
    assert.is(mm.faultError, -EIO);
    assert.is(yield* fault(kernel, mm, at + 2 * PAGE_SIZE), VM_FAULT_SIGBUS);
    assert.is(mm.faultError, 0);
    assert.is(yield* fault(kernel, mm, at + PAGE_SIZE), VM_FAULT_SIGBUS);
    assert.is(mm.faultError, -EIO);
    assert.is(yield* kernel.vm.getPage(inode, 1), -EIO);
    failsToBegin.clear();
    failsToEnd.clear();
    assert.is(yield* fault(kernel, mm, at), 0);
    assert.is(yield* fault(kernel, mm, at + PAGE_SIZE), 0);
    assert.is(yield* peek(kernel, mm, at + PAGE_SIZE), fileByte(PAGE_SIZE));
  });
  assert.equal(reads, [0, 1, 0, 1]);
});

test('GUP-22 no memory for the page cache is OOM', async () => {
  const kernel = await makeKernel();
  const { inode } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode });
    kernel.allocator.failures.failAll();
    assert.is(yield* fault(kernel, mm, at), VM_FAULT_OOM);
    assert.is(yield* fault(kernel, mm, at, FAULT_FLAG_WRITE), VM_FAULT_OOM);
    kernel.allocator.failures.off();
  });
});

test('GUP-13 a fault that may be retried releases mmap_sem, waits for the read, and says so', async () => {
  const kernel = await makeKernel();
  const { scheduler } = kernel;
  const { inode } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: VM_READ, file: inode });
    const vma = areaAt(mm, at);
    yield* mm.mmapSem.read();
    const flags = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_KILLABLE;
    const first = yield* kernel.vm.faults.handleMmFault(mm, vma, at, flags);
    assert.is(first, VM_FAULT_RETRY | VM_FAULT_MAJOR);
    assert.not.ok(mm.mmapSem.heldBy(scheduler.current));
    assert.is(scheduler.now(), DISK_NS);
    yield* mm.mmapSem.read();
    assert.is(yield* kernel.vm.faults.handleMmFault(mm, vma, at, FAULT_FLAG_TRIED), 0);
    mm.mmapSem.unlockRead();
  });
});

test('GUP-13 with NOWAIT the read is started, mmap_sem is kept, and nothing is waited for', async () => {
  const kernel = await makeKernel();
  const { scheduler } = kernel;
  const { inode, reads } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: VM_READ, file: inode });
    yield* mm.mmapSem.read();
    const flags = FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT;
    const result = yield* kernel.vm.faults.handleMmFault(mm, areaAt(mm, at), at, flags);
    assert.is(result, VM_FAULT_RETRY | VM_FAULT_MAJOR);
    assert.ok(mm.mmapSem.heldBy(scheduler.current));
    assert.is(scheduler.now(), 0);
    assert.equal(reads, [0]);
    mm.mmapSem.unlockRead();
    yield* scheduler.delay(2 * DISK_NS);
    assert.is(yield* fault(kernel, mm, at), 0);
    assert.equal(reads, [0]);
  });
});

test('without leave to retry the fault waits with mmap_sem held, and a fatal signal ends it', async () => {
  const kernel = await makeKernel();
  const { scheduler } = kernel;
  const { inode } = diskFile(kernel, PAGE_SIZE);
  const task = kernel.spawnProcess('victim', function* (_self, mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: VM_READ, file: inode });
    return [yield* fault(kernel, mm, at, FAULT_FLAG_KILLABLE), scheduler.now()];
  });
  scheduler.run({ untilNs: DISK_NS / 2 });
  scheduler.signal(task, SIGKILL);
  scheduler.run();
  assert.equal(task.exitValue, [VM_FAULT_RETRY | VM_FAULT_MAJOR, DISK_NS / 2]);
});

test('two threads that fault on one page read it once and enter it once', async () => {
  const kernel = await makeKernel();
  const { scheduler } = kernel;
  const { inode, reads } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode });
    const threads = [1, 2].map((n) =>
      scheduler.spawn(`thread ${n}`, () => fault(kernel, mm, at, n === 1 ? 0 : FAULT_FLAG_WRITE)),
    );
    for (const thread of threads) yield* scheduler.join(thread);
    assert.equal(reads, [0]);
    assert.is(inode.mapping.find(0)?.count, pageAt(mm, at).anon ? 1 : 2);
    assert.is(yield* peek(kernel, mm, at), fileByte(0));
  });
});

test('two threads that read one page enter it once', async () => {
  const kernel = await makeKernel();
  const { scheduler } = kernel;
  const { inode } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode });
    const threads = [1, 2].map((n) => scheduler.spawn(`thread ${n}`, () => fault(kernel, mm, at)));
    for (const thread of threads) yield* scheduler.join(thread);
    assert.is(pageAt(mm, at).count, 2);
    assert.is(pageAt(mm, at).mapcount, 1);
    assert.is(mm.resident, 1);
  });
});

test('a page that is truncated while a fault waits for it is not entered', async () => {
  const kernel = await makeKernel();
  const { scheduler } = kernel;
  const { inode } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode });
    const thread = scheduler.spawn('thread', () => fault(kernel, mm, at, FAULT_FLAG_WRITE));
    yield* scheduler.delay(DISK_NS / 2);
    const truncation = scheduler.spawn('truncation', () => kernel.vm.truncate(inode, 0));
    assert.is(yield* scheduler.join(thread), VM_FAULT_SIGBUS);
    yield* scheduler.join(truncation);
    assert.is(mm.pageTable.bits(at), 0);
    assert.is(inode.mapping.pages.size, 0);
  });
  assert.equal([...kernel.allocator.usage()], []);
});

test('a page that is entered while its truncation waits for the lock is unmapped again', async () => {
  const kernel = await makeKernel();
  const { scheduler, locks } = kernel;
  const { inode } = diskFile(kernel, PAGE_SIZE, {
    *pageMkwrite(_inode, page) {
      yield* locks.lock(page);
      yield* scheduler.delay(100);
      return VM_FAULT_LOCKED;
    },
  });
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode, shared: true });
    const page = yield* kernel.vm.getPage(inode, 0);
    if (typeof page === 'number') throw new Error('not read');
    kernel.allocator.put(page);
    const writer = scheduler.spawn('writer', () => fault(kernel, mm, at, FAULT_FLAG_WRITE));
    yield* scheduler.delay(50);
    yield* kernel.vm.truncate(inode, 0);
    yield* scheduler.join(writer);
    assert.is(mm.pageTable.bits(at), 0);
    assert.is(yield* fault(kernel, mm, at), VM_FAULT_SIGBUS);
  });
  assert.equal([...kernel.allocator.usage()], []);
});

test('a private mapping of frames is copied on write, registers are not', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const ram = kernel.allocator.alloc({ zone: 'DMA', zero: true });
    if (ram === null) throw new Error('no page');
    kernel.memory.write8(ram.phys, 7);
    const at = yield* mm.mmapPhys(ram.phys, { length: PAGE_SIZE, prot: RW });
    const child = yield* mm.fork();
    yield* poke(kernel, mm, at + 1, 8);
    assert.is(yield* peek(kernel, mm, at), 7);
    assert.is(kernel.memory.read8(ram.phys + 1), 0);
    if (child === null) throw new Error('no memory');
    assert.is(yield* peek(kernel, child, at + 1), 0);
    yield* child.drop();
    const registers = yield* mm.mmapPhys(0xfe000000, { length: PAGE_SIZE, prot: RW });
    assert.is(yield* fault(kernel, mm, registers, FAULT_FLAG_WRITE), VM_FAULT_SIGBUS);
    kernel.allocator.put(ram);
  });
});

test('a page that turns out poisoned after it was read is HWPOISON, to the writer too', async () => {
  const kernel = await makeKernel();
  for (const flags of [0, FAULT_FLAG_WRITE]) {
    const { inode } = diskFile(kernel, PAGE_SIZE);
    inProcess(kernel, function* (mm) {
      const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode });
      const thread = kernel.scheduler.spawn('thread', () => fault(kernel, mm, at, flags));
      yield* kernel.scheduler.delay(DISK_NS / 2);
      const page = inode.mapping.find(0);
      if (page === null) throw new Error('not read');
      kernel.vm.poison(page);
      assert.is(yield* kernel.scheduler.join(thread), VM_FAULT_HWPOISON);
    });
  }
});

test('truncation unmaps, private copies too, drops the pages, and clears the rest of the last', async () => {
  const kernel = await makeKernel();
  const dropped: number[] = [];
  const { inode } = diskFile(kernel, 3 * PAGE_SIZE, {
    *invalidatePage(page) {
      dropped.push(page.index);
    },
  });
  inProcess(kernel, function* (mm) {
    const shared = yield* mm.mmap({ length: 3 * PAGE_SIZE, prot: RW, file: inode, shared: true });
    const own = yield* mm.mmap({ length: 3 * PAGE_SIZE, prot: RW, file: inode });
    for (let i = 0; i < 3; i++) yield* poke(kernel, mm, shared + i * PAGE_SIZE, 1);
    yield* poke(kernel, mm, own + 2 * PAGE_SIZE, 1);
    const held = inode.mapping.find(2);
    if (held === null) throw new Error('not cached');
    kernel.allocator.get(held);
    yield* kernel.vm.truncate(inode, PAGE_SIZE + 100);
    assert.equal(dropped, [2]);
    assert.is(held.mapping, null);
    assert.is(held.count, 1);
    kernel.allocator.put(held);
    assert.is(mm.pageTable.bits(own + 2 * PAGE_SIZE), 0);
    assert.is(yield* peek(kernel, mm, shared + 2 * PAGE_SIZE), -1);
    assert.is(yield* peek(kernel, mm, shared + PAGE_SIZE + 99), fileByte(PAGE_SIZE + 99));
    assert.is(yield* peek(kernel, mm, shared + PAGE_SIZE + 100), 0);
  });
});

test('dropCache forgets a file, and the next access reads it again', async () => {
  const kernel = await makeKernel();
  const { inode, reads } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: VM_READ, file: inode });
    yield* peek(kernel, mm, at);
    yield* kernel.vm.dropCache(inode);
    assert.is(inode.mapping.pages.size, 0);
    assert.is(yield* peek(kernel, mm, at), fileByte(0));
  });
  assert.equal(reads, [0, 0]);
});

test('GUP-22 poisoned memory: the process that has it, and one that finds it in the cache, get HWPOISON', async () => {
  const kernel = await makeKernel();
  const { inode } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const anonymous = yield* mm.mmap({ length: PAGE_SIZE, prot: RW });
    yield* poke(kernel, mm, anonymous, 1);
    const page = pageAt(mm, anonymous);
    assert.is(kernel.vm.poison(page), 1);
    assert.is(yield* fault(kernel, mm, anonymous), VM_FAULT_HWPOISON);
    assert.is(page.count, 0);
    assert.ok(page.has(PG_hwpoison));
    const file = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode });
    yield* peek(kernel, mm, file);
    assert.is(kernel.vm.poison(pageAt(mm, file)), 1);
    assert.is(yield* fault(kernel, mm, file), VM_FAULT_HWPOISON);
    const again = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, file: inode });
    assert.is(yield* fault(kernel, mm, again), VM_FAULT_HWPOISON);
    assert.is(yield* fault(kernel, mm, again, FAULT_FLAG_WRITE), VM_FAULT_HWPOISON);
    assert.is(yield* peek(kernel, mm, again), -1);
  });
});

test('an area with operations of its own provides its pages', async () => {
  const kernel = await makeKernel();
  const buffer = kernel.allocator.alloc({ zero: true });
  if (buffer === null) throw new Error('no page');
  const ops: VmaOps = {
    *fault(_vma, vmf) {
      yield* kernel.scheduler.delay(5);
      if (vmf.pgoff > 0) return VM_FAULT_SIGBUS;
      kernel.allocator.get(buffer);
      yield* kernel.locks.lock(buffer);
      vmf.page = buffer;
      return VM_FAULT_LOCKED;
    },
  };
  const file = new Inode('/dev/buffer', PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: RW, shared: true, file, ops });
    yield* poke(kernel, mm, at, 0x77);
    assert.is(kernel.memory.read8(buffer.phys), 0x77);
    assert.is(buffer.count, 2);
    assert.is(yield* fault(kernel, mm, at + PAGE_SIZE), VM_FAULT_SIGBUS);
  });
  assert.is(buffer.count, 1);
  kernel.allocator.put(buffer);
});

test('a huge page comes whole, counts once, and is copied whole after a fork', async () => {
  const kernel = await makeKernel();
  const before = kernel.allocator.freePages;
  const size = PAGE_SIZE << kernel.vm.hugeOrder;
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 2 * size, prot: RW, huge: true });
    assert.is(at % size, 0);
    yield* poke(kernel, mm, at + size - 1, 9);
    const last = pageAt(mm, at + size - PAGE_SIZE);
    const head = last.compoundHead;
    assert.is(pageAt(mm, at), head);
    assert.is(head.count, 1);
    assert.is(last.mapcount, 1);
    assert.is(mm.pageTable.bits(at) & PTE_PRESENT, PTE_PRESENT);
    const child = yield* mm.fork();
    if (child === null) throw new Error('no memory');
    assert.is(head.count, 2);
    yield* poke(kernel, mm, at, 1);
    assert.is.not(pageAt(mm, at), head);
    assert.is(yield* peek(kernel, mm, at + size - 1), 9);
    assert.is(yield* peek(kernel, child, at), 0);
    assert.is(head.count, 1);
    yield* poke(kernel, child, at + 1, 2); // the only owner now: no copy
    assert.is(pageAt(child, at), head);
    yield* child.drop();
    assert.is(yield* mm.munmap(at + PAGE_SIZE, PAGE_SIZE), -22);
    assert.is(kernel.vm.poison(pageAt(mm, at)), size / PAGE_SIZE);
    assert.is(yield* fault(kernel, mm, at), VM_FAULT_HWPOISON_LARGE);
  });
  assert.is(kernel.allocator.freePages, before - 1);
});

test('huge pages are shared through a file, and OOM when there is no room for one', async () => {
  const kernel = await makeKernel();
  const size = PAGE_SIZE << kernel.vm.hugeOrder;
  const inode = new Inode('hugetlb', size);
  inProcess(kernel, function* (mm) {
    const one = yield* mm.mmap({ length: 2 * size, prot: RW, huge: true, shared: true, file: inode });
    const two = yield* mm.mmap({ length: size, prot: RW, huge: true, shared: true, file: inode });
    yield* poke(kernel, mm, one + 100, 5);
    assert.is(yield* peek(kernel, mm, two + 100), 5);
    assert.is(pageAt(mm, one).count, 3);
    assert.is(yield* fault(kernel, mm, one + size), VM_FAULT_SIGBUS);
    const own = yield* mm.mmap({ length: size, prot: RW, huge: true, file: inode });
    yield* poke(kernel, mm, own + 100, 6);
    assert.is(yield* peek(kernel, mm, two + 100), 5);
    kernel.allocator.failures.failAll();
    const none = yield* mm.mmap({ length: size, prot: RW, huge: true });
    assert.is(yield* fault(kernel, mm, none), VM_FAULT_OOM);
    kernel.allocator.failures.off();
    yield* kernel.vm.truncate(inode, 0);
    assert.is(yield* peek(kernel, mm, two + 100), -1);
  });
  assert.equal([...kernel.allocator.usage()], []);
});

test('who watches unmapping learns which page a process loses and why', async () => {
  const kernel = await makeKernel();
  const log: string[] = [];
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW });
    yield* poke(kernel, mm, at, 1);
    const page = pageAt(mm, at);
    kernel.vm.onUnmap = (lost, why) => void log.push(`${lost === page ? 'page' : 'other'} ${why}`);
    const child = yield* mm.fork();
    yield* poke(kernel, mm, at, 2);
    yield* mm.munmap(at, PAGE_SIZE);
    kernel.vm.onUnmap = null;
    if (child !== null) yield* child.drop();
  });
  assert.equal(log, ['page fork', 'page copy', 'other unmap']);
});
