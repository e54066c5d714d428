import {
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
  type Sleeps,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
  VM_READ,
  VM_WRITE,
  type Vma,
  type VmaOps,
} from '../../src/kernel/index.ts';
import {
  EFAULT,
  EHWPOISON,
  ENOMEM,
  FOLL_DUMP,
  FOLL_FORCE,
  FOLL_GET,
  FOLL_HWPOISON,
  FOLL_MLOCK,
  FOLL_TOUCH,
  FOLL_WRITE,
} from '../../src/linux/index.ts';
import { diskFile, fileByte } from '../kernel/files.ts';
import { assert, suite } from '../run/suite.ts';
import { boot } from './help.ts';
import { areaAt, counts, gup, memoryFile, type Pages, PINNED, putAll, WRITTEN, withFile } from './pinner.ts';
import { asUser, BASE, map, pageAt, peek, poke, RW } from './user.ts';

const test = suite('get_user_pages: pages');

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
    let asked = 0;
    const ops: VmaOps = {
      *fault() {
        asked++;
        return VM_FAULT_OOM;
      },
    };
    const own = BASE + 64 * PAGE_SIZE;
    yield* mm.mmap({ address: own, length: PAGE_SIZE, prot: RW, ops });
    // What has a fault operation of its own is no hole before that was asked.
    assert.is(yield* gup(linux, mm, own, 1, PINNED | FOLL_DUMP), -ENOMEM);
    assert.is(asked, 1);
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
    assert.equal(
      Array.from(vmas, (vma) => vma === areaAt(mm, top)),
      [true, true, true],
    );
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
