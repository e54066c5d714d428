import {
  type AddressSpace,
  EACCES,
  EINVAL,
  ENOMEM,
  type KernelBase,
  PAGE_SIZE,
  type Sleeps,
  TASK_SIZE,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
  VM_IO,
  VM_PFNMAP,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
} from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { diskFile, fileByte } from './files.ts';
import { assertBug, assertDeadlock, makeKernel } from './help.ts';

const test = suite('address spaces');
const RW = VM_READ | VM_WRITE;

/** Runs a body as a process of its own. */
function inProcess<T>(kernel: KernelBase, body: (mm: AddressSpace) => Sleeps<T>, mm?: AddressSpace): T {
  const task = kernel.spawnProcess('process', (_task, space) => body(space), mm);
  kernel.scheduler.run({ until: task });
  return task.exitValue as T; // it ended
}

function* poke(kernel: KernelBase, mm: AddressSpace, address: number, ...bytes: number[]): Sleeps<number> {
  return yield* kernel.vm.userCopy.toUser(mm, address, Uint8Array.from(bytes));
}

/** The bytes at an address; fewer than asked when a page is missing. */
function* peek(kernel: KernelBase, mm: AddressSpace, address: number, length: number): Sleeps<number[]> {
  const bytes = new Uint8Array(length);
  const count = yield* kernel.vm.userCopy.fromUser(mm, address, bytes);
  return [...bytes.subarray(0, count)];
}

test('anonymous memory reads as zeros and keeps what is written', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 3 * PAGE_SIZE, prot: RW });
    assert.equal(yield* peek(kernel, mm, at + 4094, 4), [0, 0, 0, 0]);
    assert.is(yield* poke(kernel, mm, at + 4094, 1, 2, 3, 4), 4);
    assert.equal(yield* peek(kernel, mm, at + 4093, 6), [0, 1, 2, 3, 4, 0]);
    assert.is(mm.resident, 2);
  });
});

test('untouched memory that is read is the one zero page, which is never written', async () => {
  const kernel = await makeKernel();
  const { zeroPage } = kernel.vm;
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW });
    yield* peek(kernel, mm, at, 1);
    assert.is(mm.pageTable.page(at), zeroPage);
    assert.is(mm.resident, 0);
    yield* poke(kernel, mm, at, 9);
    assert.is.not(mm.pageTable.page(at), zeroPage);
  });
  assert.is(zeroPage.count, 1);
  assert.ok(kernel.memory.equals(zeroPage.phys, new Uint8Array(PAGE_SIZE)));
});

test('pages of processes come from above 4 GiB first, or from where they are told', async () => {
  const kernel = await makeKernel();
  const phys = (mm: AddressSpace): number =>
    inProcess(
      kernel,
      function* (space) {
        const at = yield* space.mmap({ length: PAGE_SIZE, prot: RW });
        yield* poke(kernel, space, at, 1);
        return space.pageTable.page(at)?.phys ?? -1;
      },
      mm,
    );
  assert.ok(phys(kernel.vm.createSpace()) >= 2 ** 32);
  assert.ok(phys(kernel.vm.createSpace({ zone: 'DMA' })) < 2 ** 24);
});

test('when a process ends every page comes back', async () => {
  const kernel = await makeKernel();
  const before = kernel.allocator.freePages;
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 10 * PAGE_SIZE, prot: RW });
    yield* kernel.vm.userCopy.fillUser(mm, at, 7, 10 * PAGE_SIZE);
    assert.is(kernel.allocator.freePages, before - 10);
  });
  assert.is(kernel.allocator.freePages, before);
  assert.is(kernel.vm.spaces.size, 0);
});

test('GUP-28 a referenced page outlives its mapping', async () => {
  const kernel = await makeKernel();
  const page = inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW });
    yield* poke(kernel, mm, at, 5);
    const found = mm.pageTable.page(at);
    if (found === null) throw new Error('no page');
    kernel.allocator.get(found);
    yield* mm.munmap(at, PAGE_SIZE);
    assert.equal(yield* peek(kernel, mm, at, 1), []);
    return found;
  });
  assert.is(page.count, 1);
  assert.is(page.mapcount, 0);
  assert.is(kernel.memory.read8(page.phys), 5);
  kernel.allocator.put(page);
});

test('areas: found by address, split by unmapping in the middle, replaced by a fixed mapping', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 6 * PAGE_SIZE, prot: RW });
    yield* kernel.vm.userCopy.fillUser(mm, at, 1, 6 * PAGE_SIZE);
    assert.is(yield* mm.munmap(at + 2 * PAGE_SIZE, PAGE_SIZE), 0);
    assert.is(mm.areas.length, 2);
    assert.is(mm.vmaAt(at + 2 * PAGE_SIZE), null);
    assert.is(mm.findVma(at + 2 * PAGE_SIZE)?.start, at + 3 * PAGE_SIZE);
    assert.is(mm.vmaAt(at + 3 * PAGE_SIZE)?.pageOffset(at + 3 * PAGE_SIZE), at / PAGE_SIZE + 3);
    assert.equal(yield* peek(kernel, mm, at + 2 * PAGE_SIZE - 1, 3), [1]);
    assert.equal(yield* peek(kernel, mm, at + 3 * PAGE_SIZE, 1), [1]);
    assert.is(
      yield* mm.mmap({ address: at + PAGE_SIZE, length: 3 * PAGE_SIZE, prot: VM_READ }),
      at + PAGE_SIZE,
    );
    assert.equal(yield* peek(kernel, mm, at + PAGE_SIZE - 1, 2), [1, 0]);
    assert.equal(
      mm.areas.map(({ start, end }) => [(start - at) / PAGE_SIZE, (end - at) / PAGE_SIZE]),
      [
        [0, 1],
        [1, 4],
        [4, 6],
      ],
    );
    assert.is(yield* mm.munmap(0, TASK_SIZE), 0);
    assert.is(mm.areas.length, 0);
  });
});

test('mappings are placed downwards without overlapping; bad arguments are refused', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const first = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: RW });
    const second = yield* mm.mmap({ length: PAGE_SIZE + 1, prot: RW });
    assert.is(second, first - 2 * PAGE_SIZE);
    yield* mm.munmap(first, 2 * PAGE_SIZE);
    assert.is(yield* mm.mmap({ length: PAGE_SIZE, prot: RW }), first + PAGE_SIZE);
    assert.is(yield* mm.mmap({ length: 0, prot: RW }), -EINVAL);
    assert.is(yield* mm.mmap({ address: 0x1001, length: 1, prot: RW }), -EINVAL);
    assert.is(yield* mm.mmap({ address: TASK_SIZE, length: 1, prot: RW }), -ENOMEM);
    assert.is(yield* mm.mmap({ length: 2 ** 47, prot: RW }), -ENOMEM);
    assert.is(yield* mm.munmap(first + 1, 1), -EINVAL);
    assert.is(yield* mm.munmap(first, 0), -EINVAL);
  });
});

test('mprotect takes and gives rights page by page', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 3 * PAGE_SIZE, prot: RW });
    yield* kernel.vm.userCopy.fillUser(mm, at, 1, 3 * PAGE_SIZE);
    assert.is(yield* mm.mprotect(at + PAGE_SIZE, PAGE_SIZE, VM_READ), 0);
    assert.is(mm.areas.length, 3);
    assert.is(yield* poke(kernel, mm, at + PAGE_SIZE - 1, 8, 8, 8), 1);
    assert.equal(yield* peek(kernel, mm, at + PAGE_SIZE - 1, 2), [8, 1]);
    assert.is(yield* mm.mprotect(at + PAGE_SIZE, PAGE_SIZE, 0), 0);
    assert.equal(yield* peek(kernel, mm, at + PAGE_SIZE, 1), []);
    assert.is(yield* mm.mprotect(at + PAGE_SIZE, PAGE_SIZE, RW), 0);
    assert.is(yield* poke(kernel, mm, at + PAGE_SIZE, 9), 1);
    assert.is(yield* mm.mprotect(at + 2 * PAGE_SIZE, 2 * PAGE_SIZE, VM_READ), -ENOMEM);
  });
});

test('write-only memory can be read by the CPU too, as on x86', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: VM_WRITE });
    assert.is(yield* poke(kernel, mm, at, 3), 1);
    assert.equal(yield* peek(kernel, mm, at, 1), [3]);
  });
});

test('discard drops the pages and keeps the area', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: RW });
    yield* kernel.vm.userCopy.fillUser(mm, at, 1, 2 * PAGE_SIZE);
    assert.is(yield* mm.discard(at, PAGE_SIZE), 0);
    assert.is(mm.resident, 1);
    assert.equal(yield* peek(kernel, mm, at + PAGE_SIZE - 1, 2), [0, 1]);
  });
});

test('the heap grows and shrinks, and stops at what is in its way', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const start = yield* mm.brk(0);
    assert.is(yield* mm.brk(start + 5000), start + 5000);
    assert.is(yield* poke(kernel, mm, start + 8191, 1), 1);
    assert.is(yield* poke(kernel, mm, start + 8192, 1), 0);
    assert.is(yield* mm.brk(start + 9000), start + 9000);
    assert.is(mm.areas.length, 1);
    yield* mm.mmap({ address: start + 0x10000, length: PAGE_SIZE, prot: RW });
    assert.is(yield* mm.brk(start + 0x10000), start + 9000);
    assert.is(yield* mm.brk(start + 100), start + 100);
    assert.is(yield* poke(kernel, mm, start + 4095, 1), 1);
    assert.is(yield* poke(kernel, mm, start + 4096, 1), 0);
  });
});

test('GUP-07 a stack grows down when touched, to its limit, and keeps a page free below', async () => {
  const kernel = await makeKernel({ stackLimit: 8 * PAGE_SIZE });
  inProcess(kernel, function* (mm) {
    const top = 0x7fff00000000;
    const start = top - 2 * PAGE_SIZE;
    yield* mm.mmap({ address: start, length: 2 * PAGE_SIZE, prot: RW, growsDown: true });
    const vma = mm.vmaAt(start);
    if (vma === null) throw new Error('no stack');
    assert.is(yield* poke(kernel, mm, start - 2 * PAGE_SIZE, 1), 1);
    assert.is(vma.start, start - 3 * PAGE_SIZE); // the page touched, and a guard page below it
    assert.ok(mm.isStackGuard(vma, vma.start));
    assert.is(vma.pageOffset(start), start / PAGE_SIZE);
    assert.is(yield* poke(kernel, mm, top - 8 * PAGE_SIZE, 1), 1);
    assert.is(yield* poke(kernel, mm, top - 8 * PAGE_SIZE - 1, 1), 0);
  });
  inProcess(kernel, function* (mm) {
    const at = 0x7fff00000000;
    yield* mm.mmap({ address: at, length: PAGE_SIZE, prot: RW });
    yield* mm.mmap({ address: at + 4 * PAGE_SIZE, length: PAGE_SIZE, prot: RW, growsDown: true });
    assert.is(yield* poke(kernel, mm, at + 2 * PAGE_SIZE, 1), 1);
    assert.is(yield* poke(kernel, mm, at + PAGE_SIZE, 1), 0);
  });
});

test('fork shares until one side writes; a page is copied once and the last owner keeps it', async () => {
  const kernel = await makeKernel();
  const before = kernel.allocator.freePages;
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: RW });
    yield* poke(kernel, mm, at, 1);
    yield* poke(kernel, mm, at + PAGE_SIZE, 2);
    const child = yield* mm.fork();
    if (child === null) throw new Error('no memory');
    const page = mm.pageTable.page(at);
    assert.is(child.pageTable.page(at), page);
    assert.is(page?.mapcount, 2);
    yield* poke(kernel, mm, at, 7);
    assert.is(child.pageTable.page(at), page);
    assert.is.not(mm.pageTable.page(at), page);
    assert.equal(yield* peek(kernel, child, at, 1), [1]);
    yield* poke(kernel, child, at, 8);
    assert.is(child.pageTable.page(at), page);
    assert.equal(yield* peek(kernel, mm, at, 1), [7]);
    yield* child.drop();
    assert.equal(yield* peek(kernel, mm, at + PAGE_SIZE, 1), [2]);
  });
  assert.is(kernel.allocator.freePages, before);
});

test('a fork without memory leaves nothing behind', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 4 * PAGE_SIZE, prot: RW });
    yield* kernel.vm.userCopy.fillUser(mm, at, 1, 4 * PAGE_SIZE);
    const vma = mm.vmaAt(at);
    if (vma === null) throw new Error('no area');
    mm.holdPages(vma, 1); // its pages are copied at once
    const before = kernel.allocator.freePages;
    kernel.allocator.failures.set({ after: 2 });
    assert.is(yield* mm.fork(), null);
    kernel.allocator.failures.off();
    assert.is(kernel.allocator.freePages, before);
    assert.is(kernel.vm.spaces.size, 1);
    mm.releasePages(vma, 1);
  });
});

test('shared memory without a file is seen by parent and child', async () => {
  const kernel = await makeKernel();
  const before = kernel.allocator.freePages;
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, shared: true });
    yield* poke(kernel, mm, at, 1);
    const child = yield* mm.fork();
    if (child === null) throw new Error('no memory');
    yield* poke(kernel, child, at, 6);
    assert.equal(yield* peek(kernel, mm, at, 1), [6]);
    yield* child.drop();
    const inode = mm.vmaAt(at)?.file;
    yield* mm.munmap(at, PAGE_SIZE);
    if (inode === undefined || inode === null) throw new Error('no file');
    yield* kernel.vm.truncate(inode, 0);
  });
  assert.is(kernel.allocator.freePages, before);
});

test('GUP-15 shared memory with nothing behind it is SIGBUS', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW, shared: true, bare: true });
    assert.is(yield* kernel.vm.faults.pageFault(mm, at, false), VM_FAULT_SIGBUS);
    assert.is(yield* kernel.vm.faults.pageFault(mm, at + PAGE_SIZE, false), VM_FAULT_SIGSEGV);
  });
});

test('frames of a device are mapped by number, without descriptors, RAM or not', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const ram = kernel.allocator.alloc({ zone: 'DMA', zero: true });
    if (ram === null) throw new Error('no page');
    const at = yield* mm.mmapPhys(ram.phys, { length: PAGE_SIZE, prot: RW, shared: true });
    assert.ok(mm.vmaAt(at)?.has(VM_IO | VM_PFNMAP | VM_SHARED));
    assert.is(mm.pageTable.page(at), null);
    assert.is(mm.pageTable.pfn(at), ram.pfn);
    yield* poke(kernel, mm, at, 0x42);
    assert.is(kernel.memory.read8(ram.phys), 0x42);
    const registers = yield* mm.mmapPhys(0xfe000000, { length: PAGE_SIZE, prot: RW, shared: true });
    assert.equal(yield* peek(kernel, mm, registers, 1), []);
    yield* mm.munmap(at, PAGE_SIZE);
    assert.is(ram.count, 1);
    kernel.allocator.put(ram);
  });
});

test('a shared file that is not open for writing can be mapped to read only, and stays so', async () => {
  const kernel = await makeKernel();
  const { inode } = diskFile(kernel, PAGE_SIZE);
  inProcess(kernel, function* (mm) {
    const file = { file: inode, length: PAGE_SIZE, shared: true, writable: false };
    assert.is(yield* mm.mmap({ ...file, prot: RW }), -EACCES);
    const at = yield* mm.mmap({ ...file, prot: VM_READ });
    assert.is(yield* mm.mprotect(at, PAGE_SIZE, RW), -EACCES);
    assert.equal(yield* peek(kernel, mm, at + 1, 1), [fileByte(1)]);
  });
});

test('ULOCK-17 unmapping, protecting, discarding and exit wait while pages of the area are held', async () => {
  for (const change of ['munmap', 'mprotect', 'discard', 'exit'] as const) {
    const kernel = await makeKernel();
    const { scheduler } = kernel;
    const mm = kernel.vm.createSpace();
    const process = kernel.spawnProcess(
      'process',
      function* () {
        const at = yield* mm.mmap({ length: 4 * PAGE_SIZE, prot: RW });
        yield* poke(kernel, mm, at, 1);
        const vma = mm.vmaAt(at);
        if (vma === null) throw new Error('no area');
        mm.holdPages(vma, 1);
        // Another page of the same area: the unit is the area.
        if (change === 'munmap') yield* mm.munmap(at + 2 * PAGE_SIZE, PAGE_SIZE);
        if (change === 'mprotect') yield* mm.mprotect(at + 2 * PAGE_SIZE, PAGE_SIZE, VM_READ);
        if (change === 'discard') yield* mm.discard(at, PAGE_SIZE);
      },
      mm,
    );
    const [task] = assertDeadlock(() => scheduler.run()).tasks;
    assert.is(task?.what, 'held pages to be released');
    const [vma] = mm.areas;
    if (vma === undefined) throw new Error('no area');
    mm.releasePages(vma, 1);
    scheduler.run();
    assert.is(process.state, 'dead');
    assertBug('pagelock', () => mm.releasePages(vma, 1));
  }
});

test('call-backs on a range run once each, before anybody waits for held pages in it', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: RW });
    const vma = mm.vmaAt(at);
    if (vma === null) throw new Error('no area');
    const calls: string[] = [];
    const add = (name: string, start: number, body: () => void): void => {
      const run = function* (): Sleeps<void> {
        yield* kernel.scheduler.delay(10);
        calls.push(name);
        body();
      };
      mm.holdCallbacks.push({ start, end: start + PAGE_SIZE, run });
    };
    add('elsewhere', at + PAGE_SIZE, () => undefined);
    add('first', at, () => undefined);
    add('second', at, () => mm.releasePages(vma, 1));
    assert.is(yield* mm.mprotect(at, PAGE_SIZE, RW), 0);
    assert.equal(calls, []); // nothing is held
    mm.holdPages(vma, 1);
    assert.is(yield* mm.munmap(at, PAGE_SIZE), 0);
    assert.equal(calls, ['first', 'second']);
    assert.is(mm.holdCallbacks.length, 1);
  });
});

test('shared anonymous memory goes with the last mapping of it', async () => {
  const kernel = await makeKernel();
  const used = (): number => kernel.allocator.usage().get('cache') ?? 0;
  inProcess(kernel, function* (mm) {
    for (const unmaps of [true, false]) {
      const at = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: RW, shared: true });
      yield* poke(kernel, mm, at, 1);
      yield* poke(kernel, mm, at + PAGE_SIZE, 2);
      const child = yield* mm.fork();
      if (child === null) throw new Error('no memory');
      if (unmaps) yield* mm.munmap(at, 2 * PAGE_SIZE);
      else yield* child.drop();
      assert.is(used(), 2);
      assert.equal(yield* peek(kernel, unmaps ? child : mm, at + PAGE_SIZE, 1), [2]);
      if (unmaps) yield* child.drop();
      else yield* mm.munmap(at, 2 * PAGE_SIZE);
      assert.is(used(), 0);
    }
  });
});

test('ULOCK-16 fork copies at once what is held, so the parent keeps its pages', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW });
    yield* poke(kernel, mm, at, 1);
    const page = mm.pageTable.page(at);
    const vma = mm.vmaAt(at);
    if (vma === null) throw new Error('no area');
    mm.holdPages(vma, 1);
    const child = yield* mm.fork();
    if (child === null) throw new Error('no memory');
    yield* poke(kernel, mm, at, 2);
    assert.is(mm.pageTable.page(at), page);
    assert.equal(yield* peek(kernel, child, at, 1), [1]);
    mm.releasePages(vma, 1);
    yield* child.drop();
  });
});

test('mm-count dropping an address space once too often is a bug', async () => {
  const kernel = await makeKernel();
  const mm = kernel.vm.createSpace();
  mm.grab();
  kernel.scheduler.complete('t', function* () {
    yield* mm.drop();
    assert.ok(kernel.vm.spaces.has(mm));
    yield* mm.drop();
  });
  assert.not.ok(kernel.vm.spaces.has(mm));
  assertBug('mm-count', () => kernel.scheduler.complete('t', () => mm.drop()));
});

test('user copies: partial counts, other pages of RAM, no user memory, and failures on request', async () => {
  const kernel = await makeKernel();
  const { userCopy, copyFailures } = kernel.vm;
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: RW });
    const end = at + 2 * PAGE_SIZE;
    assert.is(yield* userCopy.fillUser(mm, end - 10, 7, 100), 10);
    const page = kernel.allocator.alloc({ zone: 'DMA', zero: true });
    if (page === null) throw new Error('no page');
    assert.is(yield* userCopy.userToPhys(mm, end - 3, page.phys + 5, 8), 3);
    assert.equal([...kernel.memory.readBytes(page.phys + 4, 5)], [0, 7, 7, 7, 0]);
    assert.is(yield* userCopy.physToUser(mm, at + 4090, page.phys, 12), 12);
    assert.equal(yield* peek(kernel, mm, at + 4095, 3), [7, 7, 7]);
    assert.is(yield* userCopy.toUser(null, at, new Uint8Array(4)), 0);
    assert.is(yield* userCopy.toUser(mm, TASK_SIZE - 2, new Uint8Array(4)), 0);
    assert.not.ok(userCopy.accessOk(TASK_SIZE - 2, 3));
    assert.ok(userCopy.accessOk(TASK_SIZE - 2, 2));
    copyFailures.failAll();
    assert.is(yield* poke(kernel, mm, at, 1), 0);
    copyFailures.off();
    kernel.allocator.put(page);
  });
});

test('a copy that must not sleep stops at the first page that would fault', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 2 * PAGE_SIZE, prot: RW });
    yield* poke(kernel, mm, at + PAGE_SIZE - 1, 5);
    const page = kernel.allocator.alloc();
    if (page === null) throw new Error('no page');
    assert.is(kernel.vm.userCopy.physNow(mm, at + PAGE_SIZE - 4, page.phys, 8, false), 4);
    assert.is(kernel.memory.read8(page.phys + 3), 5);
    kernel.allocator.put(page);
  });
});

test('lock-self touching user memory under mmap_sem held for writing is a bug', async () => {
  const kernel = await makeKernel();
  assertBug('lock-self', () =>
    inProcess(kernel, function* (mm) {
      const at = yield* mm.mmap({ length: PAGE_SIZE, prot: RW });
      yield* mm.mmapSem.write();
      yield* poke(kernel, mm, at, 1);
    }),
  );
});

test('a process without memory left gets a short count, not more', async () => {
  const kernel = await makeKernel();
  inProcess(kernel, function* (mm) {
    const at = yield* mm.mmap({ length: 4 * PAGE_SIZE, prot: RW });
    kernel.allocator.failures.set({ after: 2 });
    assert.is(yield* kernel.vm.userCopy.fillUser(mm, at, 1, 4 * PAGE_SIZE), 2 * PAGE_SIZE);
    kernel.allocator.failures.off();
    assert.is(yield* kernel.vm.userCopy.fillUser(mm, at, 1, 4 * PAGE_SIZE), 4 * PAGE_SIZE);
  });
});
