import {
  type AddressSpace,
  Inode,
  PAGE_SIZE,
  type Page,
  PG_dirty,
  PG_referenced,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_READ,
  PTE_SPECIAL,
  PTE_WRITE,
  SIGINT,
  SIGKILL,
  type Sleeps,
  VM_EXEC,
  VM_FAULT_HWPOISON,
  VM_FAULT_NOPAGE,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
  VM_MAYWRITE,
  VM_READ,
  VM_WRITE,
  type Vma,
  type VmaOps,
} from '../../src/kernel/index.ts';
import {
  EFAULT,
  EHWPOISON,
  ENOMEM,
  ERESTARTSYS,
  FOLL_DUMP,
  FOLL_FORCE,
  FOLL_GET,
  FOLL_HWPOISON,
  FOLL_MLOCK,
  FOLL_NOWAIT,
  FOLL_TOUCH,
  FOLL_WRITE,
  GATE_ADDRESS,
  type IntRef,
  type LinuxApi,
  type LinuxOptions,
} from '../../src/linux/index.ts';
import { diskFile, fileByte } from '../kernel/files.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, boot, inTask } from './help.ts';
import { asUser, BASE, map, pageAt, pattern, peek, poke, RW } from './user.ts';

const test = suite('get_user_pages');

const PINNED = FOLL_GET | FOLL_TOUCH;
const WRITTEN = PINNED | FOLL_WRITE;

type Pages = (Page | null)[];

/** __get_user_pages() with mmap_sem held for reading; it must be held afterwards. */
function* gup(
  linux: LinuxApi,
  mm: AddressSpace,
  start: number,
  nr: number,
  flags: number,
  pages: Pages | null = (flags & FOLL_GET) !== 0 ? [] : null,
): Sleeps<number> {
  yield* mm.mmapSem.read();
  const result = yield* linux.__get_user_pages(linux.kernel.current, mm, start, nr, flags, pages, null, null);
  mm.mmapSem.unlockRead();
  return result;
}

function counts(pages: Pages): number[] {
  return pages.map((page) => page?.count ?? -1);
}

function pfns(pages: Pages): number[] {
  return pages.map((page) => page?.pfn ?? -1);
}

function putAll(linux: LinuxApi, pages: Pages): void {
  linux.release_pages(pages, pages.length);
  pages.length = 0;
}

function areaAt(mm: AddressSpace, address: number): Vma {
  const vma = mm.vmaAt(address);
  if (vma === null) throw new Error('no area');
  return vma;
}

/** A file in memory, of so many pages, each filled with its number + 1. */
function* memoryFile(linux: LinuxApi, pages: number): Sleeps<Inode> {
  const file = new Inode('file', pages * PAGE_SIZE);
  for (let index = 0; index < pages; index++) {
    const page = yield* linux.kernel.vm.getPage(file, index);
    if (typeof page === 'number') throw new Error('no page');
    linux.kernel.memory.fill(page.phys, index + 1, PAGE_SIZE);
    linux.put_page(page);
  }
  return file;
}

/** Runs a body as a process with a file, whose cache goes at the end. */
function withFile<T>(linux: LinuxApi, pages: number, body: (mm: AddressSpace, file: Inode) => Sleeps<T>): T {
  return asUser(linux, function* (mm) {
    const file = yield* memoryFile(linux, pages);
    const result = yield* body(mm, file);
    yield* mm.munmap(BASE, 64 * PAGE_SIZE);
    yield* linux.kernel.vm.dropCache(file);
    return result;
  });
}

test('GUP-01 no pages or fewer: 0, and nothing is touched', async () => {
  const linux = await boot();
  asUser(linux, function* (mm, task) {
    yield* map(mm, BASE, 2);
    const pages: Pages = [];
    for (const nr of [0, -1, -1000]) {
      assert.is(yield* gup(linux, mm, BASE, nr, WRITTEN, pages), 0);
      assert.is(yield* linux.get_user_pages_fast(BASE, nr, true, pages), 0);
      assert.is(linux.__get_user_pages_fast(BASE, nr, true, pages), 0);
    }
    assert.equal([pages.length, mm.resident, task.min_flt], [0, 0, 0]);
  });
});

test('GUP-02 mmap_sem must be held, for reading or writing', async () => {
  const linux = await boot();
  assertBug('GUP-02', () =>
    asUser(linux, function* (mm) {
      yield* map(mm, BASE, 1);
      yield* linux.__get_user_pages(null, mm, BASE, 1, PINNED, [], null, null);
    }),
  );
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    yield* mm.mmapSem.write();
    const pages: Pages = [];
    assert.is(yield* linux.get_user_pages(null, mm, BASE, 1, true, false, pages, null), 1);
    mm.mmapSem.unlockWrite();
    putAll(linux, pages);
  });
});

test('GUP-03 an array of pages and FOLL_GET go together', async () => {
  const linux = await boot();
  assertBug('GUP-03', () => asUser(linux, (mm) => gup(linux, mm, BASE, 1, FOLL_GET, null)));
  assertBug('GUP-03', () => asUser(linux, (mm) => gup(linux, mm, BASE, 1, FOLL_TOUCH, [])));
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 3);
    assert.is(yield* gup(linux, mm, BASE, 3, FOLL_TOUCH | FOLL_WRITE), 3); // brought in, not pinned
    assert.equal([mm.resident, pageAt(mm, BASE).count], [3, 1]);
  });
});

test('GUP-04 start may be anywhere in its page', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 3);
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE + 4095, 2, WRITTEN, pages), 2);
    assert.equal(pages, [pageAt(mm, BASE), pageAt(mm, BASE + PAGE_SIZE)]);
    putAll(linux, pages);
  });
});

test('GUP-05 fewer pages than asked: their number, then the errno; later slots are not written', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 2);
    const pages: Pages = [null, null, null, null];
    assert.is(yield* gup(linux, mm, BASE, 4, WRITTEN, pages), 2);
    assert.equal(pfns(pages), [pageAt(mm, BASE).pfn, pageAt(mm, BASE + PAGE_SIZE).pfn, -1, -1]);
    assert.equal(counts(pages.slice(0, 2)), [2, 2]);
    assert.is(yield* gup(linux, mm, BASE + 2 * PAGE_SIZE, 2, WRITTEN), -EFAULT);
    putAll(linux, pages);
  });
});

test('GUP-06 what the area allows decides, by force what it may become', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    for (const [n, prot] of [0, VM_READ, VM_WRITE, VM_EXEC].entries())
      yield* map(mm, BASE + n * PAGE_SIZE, 1, prot);
    const results: number[][] = [];
    for (const flags of [0, FOLL_WRITE, FOLL_FORCE, FOLL_FORCE | FOLL_WRITE]) {
      const row: number[] = [];
      for (let n = 0; n < 4; n++) {
        const pages: Pages = [];
        row.push(yield* gup(linux, mm, BASE + n * PAGE_SIZE, 1, FOLL_GET | flags, pages));
        putAll(linux, pages);
      }
      results.push(row);
    }
    assert.equal(results, [
      [-EFAULT, 1, -EFAULT, -EFAULT],
      [-EFAULT, -EFAULT, 1, -EFAULT],
      [1, 1, 1, 1],
      [1, 1, 1, 1],
    ]);
    areaAt(mm, BASE).flags &= ~VM_MAYWRITE;
    assert.is(yield* gup(linux, mm, BASE, 1, FOLL_GET | FOLL_FORCE | FOLL_WRITE), -EFAULT);
    assert.is(
      yield* mm.mmapPhys(0xfe000000, { address: BASE, length: PAGE_SIZE, prot: RW, shared: true }),
      BASE,
    );
    for (const flags of [0, FOLL_WRITE, FOLL_FORCE]) {
      assert.is(yield* gup(linux, mm, BASE, 1, FOLL_GET | flags), -EFAULT); // VM_IO | VM_PFNMAP
    }
    assert.is(yield* gup(linux, mm, 0x40000000, 1, FOLL_GET), -EFAULT); // no area
  });
});

test('GUP-07 an address just below a stack extends it, within its limit', async () => {
  const linux = await boot({ stackLimit: 8 * PAGE_SIZE });
  asUser(linux, function* (mm) {
    const top = BASE + 64 * PAGE_SIZE;
    yield* mm.mmap({ address: top, length: PAGE_SIZE, prot: RW, growsDown: true });
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, top - 2 * PAGE_SIZE, 3, WRITTEN, pages), 3);
    assert.ok(areaAt(mm, top).start <= top - 2 * PAGE_SIZE);
    putAll(linux, pages);
    assert.is(yield* gup(linux, mm, top - 9 * PAGE_SIZE, 1, WRITTEN), -EFAULT);
  });
});

test('GUP-07 the gate page can be read and not written, by every process', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    const pages: Pages = [];
    const vmas: (Vma | null)[] = [];
    yield* mm.mmapSem.read();
    assert.is(yield* linux.__get_user_pages(null, mm, GATE_ADDRESS + 17, 2, PINNED, pages, vmas, null), 1);
    assert.is(vmas[0]?.start, GATE_ADDRESS);
    const [page] = pages as [Page];
    assert.is(page.count, 2);
    putAll(linux, pages);
    assert.is(yield* linux.__get_user_pages(null, mm, GATE_ADDRESS, 1, WRITTEN, pages, null, null), -EFAULT);
    mm.mmapSem.unlockRead();
  });
});

test('GUP-08 a fatal signal is looked for before each page; others do not count', async () => {
  const linux = await boot();
  const { scheduler } = linux.kernel;
  asUser(linux, function* (mm, task) {
    yield* map(mm, BASE, 4);
    const pages: Pages = [];
    scheduler.signal(task, SIGINT);
    assert.is(yield* gup(linux, mm, BASE, 2, WRITTEN, pages), 2);
    // The signal comes while the second page of the rest is brought in: that one is still pinned.
    const ops: VmaOps = {
      *fault(vma, vmf) {
        if (vmf.pgoff === 1) scheduler.signal(task, SIGKILL);
        vmf.page = yield* linux.alloc_page(0, 'user');
        return vma === areaAt(mm, vmf.address) ? 0 : VM_FAULT_SIGBUS;
      },
    };
    const at = BASE + 16 * PAGE_SIZE;
    yield* mm.mmap({ address: at, length: 4 * PAGE_SIZE, prot: RW, ops });
    areaAt(mm, at).pgoff = 0;
    const more: Pages = [];
    assert.is(yield* gup(linux, mm, at, 4, PINNED, more), 2);
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED), -ERESTARTSYS);
    putAll(linux, more);
    assert.is(yield* linux.get_user_pages_fast(BASE, 2, true, more), 2); // already there: the lock-free walk
    assert.is(yield* linux.get_user_pages_fast(BASE + 2 * PAGE_SIZE, 1, true, more), -ERESTARTSYS);
    putAll(linux, more);
    putAll(linux, pages);
  });
});

test('GUP-08 a fatal signal is not looked for at the gate page or inside huge pages', async () => {
  const linux = await boot({ hugeOrder: 2 });
  asUser(linux, function* (mm, task) {
    yield* mm.mmap({ address: BASE, length: 4 * PAGE_SIZE, prot: RW, huge: true });
    linux.kernel.scheduler.signal(task, SIGKILL);
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, GATE_ADDRESS, 1, PINNED, pages), 1);
    putAll(linux, pages);
    assert.is(yield* gup(linux, mm, BASE, 4, WRITTEN, pages), 4);
    putAll(linux, pages);
  });
});

test('GUP-09 a fault that does not bring the page is repeated until one does', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    let calls = 0;
    const ops: VmaOps = {
      *fault(vma, vmf) {
        if (++calls < 20) return VM_FAULT_NOPAGE;
        const page = yield* linux.alloc_page(0, 'user');
        if (page === null) return VM_FAULT_OOM;
        page._mapcount = 1;
        vma.mm.pageTable.set(vmf.address, page, PTE_PRESENT | PTE_READ | PTE_WRITE);
        vma.mm.resident++;
        return VM_FAULT_NOPAGE;
      },
    };
    yield* mm.mmap({ address: BASE, length: PAGE_SIZE, prot: RW, ops });
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED, pages), 1);
    assert.is(calls, 20);
    putAll(linux, pages);
  });
});

for (const [name, fault, flags, error] of [
  ['OOM', VM_FAULT_OOM, 0, -ENOMEM],
  ['OOM before all others', VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_HWPOISON, FOLL_HWPOISON, -ENOMEM],
  ['HWPOISON', VM_FAULT_HWPOISON, 0, -EFAULT],
  ['HWPOISON with its flag, before SIGBUS', VM_FAULT_HWPOISON | VM_FAULT_SIGBUS, FOLL_HWPOISON, -EHWPOISON],
  ['SIGBUS', VM_FAULT_SIGBUS, FOLL_HWPOISON, -EFAULT],
  ['SIGSEGV', VM_FAULT_SIGSEGV, 0, -EFAULT],
] as const) {
  test(`GUP-10 GUP-11 a fault with ${name}: the errno or the count, and it is not accounted`, async () => {
    const linux = await boot();
    asUser(linux, function* (mm, task) {
      const ops: VmaOps = {
        *fault() {
          return fault;
        },
      };
      yield* map(mm, BASE, 1);
      yield* mm.mmap({ address: BASE + PAGE_SIZE, length: PAGE_SIZE, prot: RW, ops });
      const pages: Pages = [];
      assert.is(yield* gup(linux, mm, BASE, 2, WRITTEN | flags, pages), 1);
      putAll(linux, pages);
      assert.equal([task.min_flt, task.maj_flt], [1, 0]);
      assert.is(yield* gup(linux, mm, BASE + PAGE_SIZE, 1, PINNED | flags), error);
      assert.equal([task.min_flt, task.maj_flt], [1, 0]);
    });
  });
}

test('GUP-11 faults are accounted to the task that is given: with I/O as major, else as minor', async () => {
  const linux = await boot();
  asUser(linux, function* (mm, task) {
    const file = diskFile(linux.kernel, 2 * PAGE_SIZE);
    yield* map(mm, BASE, 2);
    yield* mm.mmap({ address: BASE + 2 * PAGE_SIZE, length: 2 * PAGE_SIZE, prot: VM_READ, file: file.inode });
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 4, PINNED, pages), 4);
    assert.equal([task.min_flt, task.maj_flt], [2, 2]);
    putAll(linux, pages);
    yield* mm.discard(BASE, 4 * PAGE_SIZE);
    yield* mm.mmapSem.read();
    assert.is(yield* linux.get_user_pages(null, mm, BASE, 4, false, false, null, null), 4);
    mm.mmapSem.unlockRead();
    assert.equal([task.min_flt, task.maj_flt], [2, 2]);
    yield* mm.munmap(BASE, 4 * PAGE_SIZE);
    yield* linux.kernel.vm.dropCache(file.inode);
  });
});

/** A process whose page 1 of 3 is still to be read from disk, with others on both sides. */
function withSlowPage(linux: LinuxApi, body: (mm: AddressSpace, reads: number[]) => Sleeps<void>): void {
  asUser(linux, function* (mm) {
    const file = diskFile(linux.kernel, PAGE_SIZE);
    yield* map(mm, BASE, 3);
    yield* mm.mmap({ address: BASE + PAGE_SIZE, length: PAGE_SIZE, prot: VM_READ, file: file.inode });
    yield* body(mm, file.reads);
    yield* linux.kernel.scheduler.delay(5000);
    yield* mm.munmap(BASE, 3 * PAGE_SIZE);
    yield* linux.kernel.vm.dropCache(file.inode);
  });
}

test('GUP-12 GUP-13 with nonblocking nothing waits: a short count, 0 in it, mmap_sem released', async () => {
  const linux = await boot();
  withSlowPage(linux, function* (mm, reads) {
    const task = linux.kernel.current;
    const { now } = linux.kernel.machine;
    const before = now.call(linux.kernel.machine);
    const pages: Pages = [];
    const nonblocking: IntRef = { value: 1 };
    yield* mm.mmapSem.read();
    assert.is(yield* linux.__get_user_pages(task, mm, BASE, 3, PINNED, pages, null, nonblocking), 1);
    assert.equal([nonblocking.value, mm.mmapSem.heldBy(task?.task ?? null)], [0, false]);
    assert.is(linux.kernel.machine.now(), before);
    assert.equal(reads, [0]); // the I/O is under way
    // The first page is the slow one: 0 pages is no error.
    yield* mm.mmapSem.write();
    nonblocking.value = 1;
    assert.is(
      yield* linux.__get_user_pages(task, mm, BASE + PAGE_SIZE, 2, PINNED, pages, null, nonblocking),
      0,
    );
    assert.equal([nonblocking.value, mm.mmapSem.heldBy(task?.task ?? null)], [0, false]);
    putAll(linux, pages);
    // When all goes through, neither changes.
    yield* linux.kernel.scheduler.delay(5000);
    yield* mm.mmapSem.read();
    nonblocking.value = 1;
    assert.is(yield* linux.__get_user_pages(task, mm, BASE, 3, PINNED, pages, null, nonblocking), 3);
    assert.equal([nonblocking.value, mm.mmapSem.heldBy(task?.task ?? null)], [1, true]);
    mm.mmapSem.unlockRead();
    putAll(linux, pages);
    assert.is(task?.task.maj_flt, 1); // GUP-11: the retry is accounted, too
  });
});

test('GUP-13 with FOLL_NOWAIT the I/O is started and mmap_sem stays held', async () => {
  const linux = await boot();
  withSlowPage(linux, function* (mm, reads) {
    const nonblocking: IntRef = { value: 1 };
    const pages: Pages = [];
    yield* mm.mmapSem.read();
    const task = linux.kernel.current;
    assert.is(
      yield* linux.__get_user_pages(task, mm, BASE, 3, PINNED | FOLL_NOWAIT, pages, null, nonblocking),
      1,
    );
    assert.equal([nonblocking.value, mm.mmapSem.heldBy(task?.task ?? null), reads.length], [0, true, 1]);
    mm.mmapSem.unlockRead();
    putAll(linux, pages);
  });
});

test('GUP-14 FOLL_NOWAIT without nonblocking: only the count tells', async () => {
  const linux = await boot();
  withSlowPage(linux, function* (mm) {
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 3, PINNED | FOLL_NOWAIT, pages), 1);
    assert.is(yield* gup(linux, mm, BASE + PAGE_SIZE, 2, PINNED | FOLL_NOWAIT), 0);
    putAll(linux, pages);
  });
});

test('GUP-15 untouched memory: the zero page to read, a fresh page of zeros to write', async () => {
  const linux = await boot();
  const { zeroPage } = linux.kernel.vm;
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 2);
    const before = zeroPage.count;
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 2, PINNED, pages), 2);
    assert.equal(pages, [zeroPage, zeroPage]);
    assert.is(zeroPage.count, before + 2);
    putAll(linux, pages);
    assert.is(zeroPage.count, before);
    assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN, pages), 1);
    assert.is.not(pages[0], zeroPage);
    assert.ok(linux.kernel.memory.readBytes(pages[0]?.phys ?? 0, PAGE_SIZE).every((byte) => byte === 0));
    putAll(linux, pages);
    yield* mm.mmap({ address: BASE, length: PAGE_SIZE, prot: RW, shared: true, bare: true });
    assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN), -EFAULT);
  });
});

test('GUP-16 a private page of a file is copied to be written, and the copy is pinned', async () => {
  const linux = await boot();
  withFile(linux, 1, function* (mm, file) {
    yield* mm.mmap({ address: BASE, length: PAGE_SIZE, prot: RW, file });
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED, pages), 1);
    assert.is(pages[0], file.mapping.find(0));
    assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN, pages), 1);
    assert.is(pages[0], pageAt(mm, BASE));
    assert.is.not(pages[0], file.mapping.find(0));
    assert.is(linux.kernel.memory.read8(pages[0]?.phys ?? 0), 1);
    linux.put_page(pages[0] as Page);
    linux.put_page(file.mapping.find(0) as Page);
    assert.is(file.mapping.find(0)?.count, 1);
  });
});

test('GUP-16 after a pin to read, a write by the process gives it another page; the pin keeps the old one', async () => {
  const linux = await boot();
  withFile(linux, 1, function* (mm, file) {
    yield* mm.mmap({ address: BASE, length: PAGE_SIZE, prot: RW, file });
    const pages: Pages = [];
    assert.is(yield* linux.get_user_pages_fast(BASE, 1, false, pages), 1);
    yield* poke(linux, mm, BASE, Uint8Array.of(99));
    assert.is.not(pageAt(mm, BASE), pages[0]);
    assert.is(linux.kernel.memory.read8(pages[0]?.phys ?? 0), 1);
    putAll(linux, pages);
  });
});

test('GUP-17 page_mkwrite is asked before a shared page is pinned to be written', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    const asked: number[] = [];
    let answer = 0;
    const file = new Inode('file', 2 * PAGE_SIZE, {
      *pageMkwrite(_inode, page) {
        asked.push(page.index);
        return answer;
      },
    });
    yield* mm.mmap({ address: BASE, length: 2 * PAGE_SIZE, prot: RW, shared: true, file });
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED, pages), 1);
    assert.equal(asked, []);
    assert.is(yield* gup(linux, mm, BASE, 2, FOLL_GET | FOLL_WRITE, pages), 2);
    assert.equal(asked, [0, 1]);
    assert.ok(pages.every((page) => page?.has(PG_dirty)));
    linux.put_page(pages[0] as Page);
    putAll(linux, pages);
    answer = VM_FAULT_OOM;
    yield* mm.discard(BASE, 2 * PAGE_SIZE);
    assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN), -ENOMEM);
    answer = VM_FAULT_SIGBUS;
    assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN), -EFAULT);
    yield* mm.munmap(BASE, 2 * PAGE_SIZE);
    yield* linux.kernel.vm.dropCache(file);
  });
});

for (const shared of [false, true]) {
  test(`GUP-18 forced writing of a ${shared ? 'shared' : 'private'} read-only area makes a private copy`, async () => {
    const linux = await boot();
    withFile(linux, 1, function* (mm, file) {
      yield* mm.mmap({ address: BASE, length: PAGE_SIZE, prot: VM_READ, shared, file });
      const pages: Pages = [];
      assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN | FOLL_FORCE, pages), 1);
      const [page] = pages as [Page];
      assert.is.not(page, file.mapping.find(0));
      linux.kernel.memory.write8(page.phys, 77);
      assert.is((yield* peek(linux, mm, BASE, 1))[0], 77);
      assert.is(linux.kernel.memory.read8(file.mapping.find(0)?.phys ?? 0), 1);
      assert.is(areaAt(mm, BASE).flags & VM_WRITE, 0);
      assert.is(mm.pageTable.bits(BASE) & PTE_WRITE, 0);
      assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN | FOLL_FORCE, pages), 1); // no second copy
      assert.is(pages[0], page);
      linux.put_page(page);
      linux.put_page(page);
    });
  });
}

test('GUP-18 what is thrown away between copy and pin is copied again: the file page is never pinned to be written', async () => {
  const linux = await boot();
  withFile(linux, 1, function* (mm, file) {
    yield* mm.mmap({ address: BASE, length: PAGE_SIZE, prot: VM_READ, file });
    const filePage = file.mapping.find(0);
    const { faults } = linux.kernel.vm;
    const fast = faults.fast;
    let races = 0;
    faults.fast = (vma, address, flags) => {
      const result = fast.call(faults, vma, address, flags);
      if (races++ < 3) mm.unmapRange(BASE, BASE + PAGE_SIZE, 'unmap');
      return result;
    };
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN | FOLL_FORCE, pages), 1);
    faults.fast = fast;
    assert.is(races, 4);
    assert.is.not(pages[0], filePage);
    putAll(linux, pages);
  });
});

test('GUP-18 after fork a forced write copies once more', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    yield* poke(linux, mm, BASE, Uint8Array.of(5));
    yield* mm.mprotect(BASE, PAGE_SIZE, VM_READ);
    const child = yield* mm.fork();
    const before = pageAt(mm, BASE);
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN | FOLL_FORCE, pages), 1);
    assert.is.not(pages[0], before);
    assert.is(child?.pageTable.page(BASE), before);
    putAll(linux, pages);
    if (child !== null) yield* child.drop();
  });
});

test('GUP-19 FOLL_TOUCH marks the page accessed, with FOLL_WRITE dirty if nothing is yet', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    yield* poke(linux, mm, BASE, Uint8Array.of(5));
    const page = pageAt(mm, BASE);
    const bits = mm.pageTable.bits(BASE);
    const state = function* (flags: number, dirtyEntry: boolean): Sleeps<boolean[]> {
      page.clear(PG_dirty | PG_referenced);
      mm.pageTable.setBits(BASE, dirtyEntry ? bits | PTE_DIRTY : bits & ~PTE_DIRTY);
      assert.is(yield* gup(linux, mm, BASE, 1, flags), 1);
      return [page.has(PG_referenced), page.has(PG_dirty)];
    };
    assert.equal(yield* state(0, false), [false, false]);
    assert.equal(yield* state(FOLL_WRITE, false), [false, false]);
    assert.equal(yield* state(FOLL_TOUCH, false), [true, false]);
    assert.equal(yield* state(FOLL_TOUCH | FOLL_WRITE, false), [true, true]);
    assert.equal(yield* state(FOLL_TOUCH | FOLL_WRITE, true), [true, false]);
  });
});

test('GUP-20 FOLL_DUMP gives up where there are only zeros, without allocating', async () => {
  const linux = await boot({ hugeOrder: 2 });
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 2);
    const { mark } = linux.kernel.allocator;
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED | FOLL_DUMP), -EFAULT);
    yield* peek(linux, mm, BASE, 1); // maps the zero page
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED | FOLL_DUMP), -EFAULT);
    assert.equal(linux.kernel.allocator.since(mark), []);
    yield* poke(linux, mm, BASE, Uint8Array.of(1));
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 2, PINNED | FOLL_DUMP, pages), 1);
    putAll(linux, pages);
    const huge = BASE + 16 * PAGE_SIZE;
    yield* mm.mmap({ address: huge, length: 4 * PAGE_SIZE, prot: RW, huge: true });
    assert.is(yield* gup(linux, mm, huge, 4, PINNED | FOLL_DUMP), -EFAULT);
  });
  withFile(linux, 1, function* (mm, file) {
    yield* mm.mmap({ address: BASE, length: PAGE_SIZE, prot: RW, file });
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED | FOLL_DUMP, pages), 1); // a file is no hole
    putAll(linux, pages);
  });
});

test('GUP-21 a mapped frame without a page is -EFAULT, even in an area that does not say so', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    mm.pageTable.setPfn(BASE, 0xfe000, PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_SPECIAL);
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED), -EFAULT);
    assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN), -EFAULT);
    assert.is(yield* gup(linux, mm, BASE, 1, FOLL_TOUCH), -EFAULT);
    assert.is(yield* linux.get_user_pages_fast(BASE, 1, true, []), -EFAULT);
    mm.pageTable.clear(BASE);
  });
});

test('GUP-22 beyond the end of a file, and where it cannot be read: -EFAULT; without memory -ENOMEM', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    const file = diskFile(linux.kernel, 2 * PAGE_SIZE + 1);
    yield* mm.mmap({ address: BASE, length: 4 * PAGE_SIZE, prot: VM_READ, file: file.inode });
    const pages: Pages = [];
    file.failsToEnd.add(0);
    file.failsToBegin.add(1);
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED), -EFAULT);
    assert.is(yield* gup(linux, mm, BASE + PAGE_SIZE, 1, PINNED), -EFAULT);
    linux.kernel.allocator.failures.failAll();
    assert.is(yield* gup(linux, mm, BASE + 2 * PAGE_SIZE, 1, PINNED), -ENOMEM);
    linux.kernel.allocator.failures.off();
    assert.is(yield* gup(linux, mm, BASE + 2 * PAGE_SIZE, 2, PINNED, pages), 1);
    assert.is(linux.kernel.memory.read8(pages[0]?.phys ?? 0), fileByte(2 * PAGE_SIZE));
    assert.is(yield* gup(linux, mm, BASE + 3 * PAGE_SIZE, 1, PINNED), -EFAULT);
    putAll(linux, pages);
    yield* mm.munmap(BASE, 4 * PAGE_SIZE);
    yield* linux.kernel.vm.dropCache(file.inode);
  });
});

test('GUP-22 a poisoned page is HWPOISON, in the process and in the cache', async () => {
  const linux = await boot();
  const { vm } = linux.kernel;
  const task = linux.kernel.spawnProcess('user', function* (_task, mm) {
    const file = yield* memoryFile(linux, 1);
    yield* mm.mmap({ address: BASE, length: PAGE_SIZE, prot: RW, file });
    yield* peek(linux, mm, BASE, 1);
    assert.is(vm.poison(file.mapping.find(0) as Page), 1);
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED), -EFAULT);
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED | FOLL_HWPOISON), -EHWPOISON);
    yield* mm.discard(BASE, PAGE_SIZE);
    assert.is(yield* gup(linux, mm, BASE, 1, WRITTEN | FOLL_HWPOISON), -EHWPOISON);
  });
  linux.kernel.scheduler.run({ until: task });
});

test('GUP-23 FOLL_MLOCK counts the guard page of a stack without bringing it in', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    const top = BASE + 16 * PAGE_SIZE;
    yield* mm.mmap({ address: top, length: 3 * PAGE_SIZE, prot: RW, growsDown: true });
    const vmas: (Vma | null)[] = [];
    const pages: Pages = [null, null, null];
    yield* mm.mmapSem.read();
    const flags = WRITTEN | FOLL_MLOCK;
    assert.is(yield* linux.__get_user_pages(null, mm, top, 3, flags, pages, vmas, null), 3);
    mm.mmapSem.unlockRead();
    assert.is(pages[0], null);
    assert.ok(vmas.length === 3 && vmas.every((vma) => vma === areaAt(mm, top)));
    assert.equal([mm.resident, mm.pageTable.bits(top)], [2, 0]);
    putAll(linux, pages);
  });
});

test('GUP-24 in huge pages every error of a fault is -EFAULT, or the count', async () => {
  const linux = await boot({ hugeOrder: 2 });
  asUser(linux, function* (mm, task) {
    yield* mm.mmap({ address: BASE, length: 8 * PAGE_SIZE, prot: RW, huge: true });
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, BASE + PAGE_SIZE, 3, WRITTEN, pages), 3);
    const [first] = pages as [Page];
    assert.equal(counts(pages), [4, 4, 4]); // counted on the head
    assert.is(first.compoundHead, pageAt(mm, BASE));
    linux.kernel.allocator.failures.failAll();
    assert.is(yield* gup(linux, mm, BASE + 4 * PAGE_SIZE, 1, WRITTEN), -EFAULT);
    const more: Pages = [];
    assert.is(yield* gup(linux, mm, BASE + 3 * PAGE_SIZE, 2, WRITTEN, more), 1);
    linux.kernel.allocator.failures.off();
    putAll(linux, more);
    putAll(linux, pages);
    assert.is(task.min_flt, 0);
  });
});

test('GUP-24 a broken huge page is -EFAULT even with FOLL_HWPOISON; a shared one is never written by force', async () => {
  const linux = await boot({ hugeOrder: 2 });
  const task = linux.kernel.spawnProcess('user', function* (_task, mm) {
    yield* mm.mmap({ address: BASE, length: 4 * PAGE_SIZE, prot: RW, huge: true });
    yield* poke(linux, mm, BASE, Uint8Array.of(1));
    linux.kernel.vm.poison(pageAt(mm, BASE));
    assert.is(yield* gup(linux, mm, BASE, 1, PINNED | FOLL_HWPOISON), -EFAULT);
    const at = BASE + 16 * PAGE_SIZE;
    yield* mm.mmap({ address: at, length: 4 * PAGE_SIZE, prot: VM_READ, shared: true, huge: true });
    assert.is(yield* gup(linux, mm, at, 1, WRITTEN | FOLL_FORCE), -EFAULT);
  });
  linux.kernel.scheduler.run({ until: task });
});

test('GUP-25 vmas has the area of every page, of several areas in one call', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    yield* map(mm, BASE + PAGE_SIZE, 2, VM_READ);
    const vmas: (Vma | null)[] = [];
    yield* mm.mmapSem.read();
    assert.is(yield* linux.get_user_pages(null, mm, BASE, 5, false, false, null, vmas), 3);
    mm.mmapSem.unlockRead();
    assert.equal(
      vmas.map((vma) => vma?.start),
      [BASE, BASE + PAGE_SIZE, BASE + PAGE_SIZE],
    );
  });
});

test('GUP-26 PG-01 each pin needs a put; one put too many is a bug', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    const pages: Pages = [];
    for (let n = 0; n < 3; n++) assert.is(yield* linux.get_user_pages_fast(BASE, 1, true, pages, n), 1);
    assert.is(pageAt(mm, BASE).count, 4);
    putAll(linux, pages);
    assert.is(pageAt(mm, BASE).count, 1);
  });
  const page = inTask(linux, () => linux.alloc_page(0));
  if (page === null) throw new Error('no page');
  linux.put_page(page);
  assertBug('PG-01', () => linux.put_page(page));
  assertBug('PG-01', () => linux.get_page(page));
});

test('PG-01 references to any part of a compound count on its head', async () => {
  const linux = await boot();
  const head = inTask(linux, () => linux.alloc_pages(0, 2));
  const tail = head === null ? null : linux.nth_page(head, 3);
  if (head === null || tail === null) throw new Error('no pages');
  linux.get_page(tail);
  assert.equal([linux.page_count(head), linux.page_count(tail)], [2, 2]);
  linux.put_page(head);
  linux.put_page(tail);
  assert.is(head.count, 0);
});

test('GUP-26 PG-02 set_page_dirty says 1 only for a clean page, and asks the mapping', async () => {
  const linux = await boot();
  asUser(linux, function* () {
    const dirtied: number[] = [];
    const file = new Inode('file', PAGE_SIZE, {
      setPageDirty(page) {
        dirtied.push(page.index);
        return !page.testSet(PG_dirty);
      },
    });
    const cached = yield* linux.kernel.vm.getPage(file, 0);
    const own = yield* linux.alloc_page(0);
    if (typeof cached === 'number' || own === null) throw new Error('no page');
    for (const page of [cached, own]) {
      assert.equal([linux.set_page_dirty(page), linux.set_page_dirty(page)], [1, 0]);
      assert.is(yield* linux.set_page_dirty_lock(page), 0);
      assert.is(linux.PageLocked(page), false);
      linux.put_page(page);
    }
    assert.equal(dirtied, [0, 0, 0]);
    yield* linux.kernel.vm.dropCache(file);
  });
});

test('PG-02 set_page_dirty_lock waits for the lock of the page', async () => {
  const linux = await boot();
  const { scheduler } = linux.kernel;
  const page = inTask(linux, () => linux.alloc_page(0));
  if (page === null) throw new Error('no page');
  assert.is(linux.trylock_page(page), true);
  const task = scheduler.spawn('dirty', () => linux.set_page_dirty_lock(page));
  scheduler.run({ untilNs: 10 });
  assert.equal([task.state, linux.PageDirty(page)], ['sleeping', false]);
  linux.unlock_page(page);
  scheduler.run({ until: task });
  assert.is(task.exitValue, 1);
  linux.put_page(page);
});

test('GUP-27 get_user_pages_fast: the lock only where the page is not there; fast count before a slow error', async () => {
  const linux = await boot();
  asUser(linux, function* (mm, task) {
    yield* map(mm, BASE, 3);
    yield* poke(linux, mm, BASE, pattern(2 * PAGE_SIZE));
    const writer = linux.kernel.scheduler.spawn('writer', function* () {
      yield* mm.mmapSem.write();
      yield* linux.kernel.scheduler.delay(1e6);
      mm.mmapSem.unlockWrite();
    });
    yield* linux.kernel.scheduler.yieldNow();
    const pages: Pages = [];
    assert.is(yield* linux.get_user_pages_fast(BASE + 100, 2, true, pages), 2); // another holds the lock
    assert.is(writer.state, 'sleeping');
    assert.is(yield* linux.get_user_pages_fast(BASE + 100, 3, true, pages), 3);
    assert.is(writer.state, 'dead');
    assert.is(task.locksHeld, 0);
    assert.equal(counts(pages), [3, 3, 2]);
    linux.put_page(pages[0] as Page);
    linux.put_page(pages[1] as Page);
    putAll(linux, pages);
    assert.is(yield* linux.get_user_pages_fast(BASE + PAGE_SIZE, 5, true, pages), 2);
    putAll(linux, pages);
    assert.is(yield* linux.get_user_pages_fast(BASE + 3 * PAGE_SIZE, 1, true, pages), -EFAULT);
  });
});

test('GUP-27 get_user_pages_fast with the lock held for writing, or without user memory, is a bug', async () => {
  const linux = await boot();
  assertBug('GUP-27', () =>
    asUser(linux, function* (mm) {
      yield* map(mm, BASE, 1);
      yield* mm.mmapSem.write();
      yield* linux.get_user_pages_fast(BASE, 1, true, []);
    }),
  );
  assertBug('GUP-27', () => inTask(linux, () => linux.get_user_pages_fast(BASE, 1, true, [])));
});

test('GUP-27 __get_user_pages_fast pins what is there and never sleeps', async () => {
  const linux = await boot();
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 3);
    yield* poke(linux, mm, BASE, pattern(PAGE_SIZE + 1));
    const pages: Pages = [];
    assert.is(linux.__get_user_pages_fast(BASE, 3, true, pages), 2);
    putAll(linux, pages);
    yield* peek(linux, mm, BASE + 2 * PAGE_SIZE, 1); // the zero page: left to the slow way
    assert.is(linux.__get_user_pages_fast(BASE + 2 * PAGE_SIZE, 1, false, pages), 0);
    yield* mm.mprotect(BASE, PAGE_SIZE, VM_READ);
    assert.is(linux.__get_user_pages_fast(BASE, 1, true, pages), 0);
    assert.is(linux.__get_user_pages_fast(BASE, 1, false, pages), 1);
    putAll(linux, pages);
  });
});

test('GUP-28 a pin outlives unmapping and the process; the last put frees', async () => {
  const linux = await boot();
  const { allocator, memory, scheduler, spawnProcess } = linux.kernel;
  const pages: Pages = [];
  const task = spawnProcess('user', function* (_task, mm) {
    yield* map(mm, BASE, 2);
    yield* poke(linux, mm, BASE, pattern(2 * PAGE_SIZE));
    assert.is(yield* linux.get_user_pages_fast(BASE, 2, true, pages), 2);
    yield* mm.munmap(BASE, PAGE_SIZE);
    assert.equal(counts(pages), [1, 2]);
  });
  scheduler.run({ until: task });
  const [first, second] = pages as [Page, Page];
  assert.equal(counts(pages), [1, 1]);
  assert.equal(memory.readBytes(first.phys, 16), pattern(2 * PAGE_SIZE).slice(0, 16));
  const free = allocator.freePages;
  linux.put_page(first);
  linux.put_page(second);
  assert.is(allocator.freePages, free + 2);
});

test('pages_pinned tells of pins, wherever they were made', async () => {
  const linux = await boot();
  const seen: (readonly [number, number, boolean])[] = [];
  linux.kernel.trace.listen({
    pages_pinned: (start, pages, write) => void seen.push([start - BASE, pages, write]),
  });
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 3);
    yield* poke(linux, mm, BASE, Uint8Array.of(1));
    const pages: Pages = [];
    assert.is(yield* linux.get_user_pages_fast(BASE + 5, 3, true, pages), 3);
    assert.is(yield* gup(linux, mm, BASE, 2, FOLL_TOUCH), 2); // no pin
    putAll(linux, pages);
  });
  assert.equal(seen, [
    [0, 1, true],
    [PAGE_SIZE, 2, true],
  ]);
});

/** Options are accepted by all tests above; this one runs them on memory that is not contiguous. */
const SCATTERED: LinuxOptions = { placement: 'scatter', seed: 3 };

test('GUP-04 pages come in the order of their addresses, wherever they are', async () => {
  const linux = await boot(SCATTERED);
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 10);
    const bytes = pattern(10 * PAGE_SIZE);
    yield* poke(linux, mm, BASE, bytes);
    const pages: Pages = [];
    assert.is(yield* linux.get_user_pages_fast(BASE, 10, false, pages), 10);
    for (const [n, page] of pages.entries()) {
      assert.ok(
        linux.kernel.memory.equals(page?.phys ?? 0, bytes.subarray(n * PAGE_SIZE, (n + 1) * PAGE_SIZE)),
      );
    }
    putAll(linux, pages);
  });
});
