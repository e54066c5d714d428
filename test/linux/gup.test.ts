import {
  type AddressSpace,
  PAGE_SIZE,
  type Page,
  PTE_PRESENT,
  PTE_READ,
  PTE_WRITE,
  SIGINT,
  SIGKILL,
  type Sleeps,
  VM_EXEC,
  VM_FAULT_HWPOISON,
  VM_FAULT_HWPOISON_LARGE,
  VM_FAULT_NOPAGE,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
  VM_FAULT_SIGSEGV,
  VM_IO,
  VM_MAYWRITE,
  VM_PFNMAP,
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
  FOLL_FORCE,
  FOLL_GET,
  FOLL_HWPOISON,
  FOLL_NOWAIT,
  FOLL_TOUCH,
  FOLL_WRITE,
  GATE_ADDRESS,
  type IntRef,
  type LinuxApi,
} from '../../src/linux/index.ts';
import { diskFile } from '../kernel/files.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, boot } from './help.ts';
import { areaAt, counts, gup, type Pages, PINNED, pfns, putAll, WRITTEN } from './pinner.ts';
import { asUser, BASE, map, pageAt, poke, RW } from './user.ts';

const test = suite('get_user_pages');

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
    // Even where there is a page that could be pinned.
    const other = BASE + 16 * PAGE_SIZE;
    yield* map(mm, other, 1);
    yield* poke(linux, mm, other, Uint8Array.of(1));
    for (const flag of [VM_IO, VM_PFNMAP]) {
      areaAt(mm, other).flags |= flag;
      assert.is(yield* gup(linux, mm, other, 1, PINNED), -EFAULT);
      areaAt(mm, other).flags &= ~flag;
    }
    const pages: Pages = [];
    assert.is(yield* gup(linux, mm, other, 1, PINNED, pages), 1);
    putAll(linux, pages);
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
  ['HWPOISON_LARGE', VM_FAULT_HWPOISON_LARGE, FOLL_HWPOISON, -EHWPOISON],
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
