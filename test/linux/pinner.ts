// What tests of pinning share.

import {
  type AddressSpace,
  Inode,
  PAGE_SIZE,
  type Page,
  type Sleeps,
  type Vma,
} from '../../src/kernel/index.ts';
import { FOLL_GET, FOLL_TOUCH, FOLL_WRITE, type LinuxApi } from '../../src/linux/index.ts';
import { asUser, BASE } from './user.ts';

export const PINNED = FOLL_GET | FOLL_TOUCH;
export const WRITTEN = PINNED | FOLL_WRITE;

export type Pages = (Page | null)[];

/** __get_user_pages() with mmap_sem held for reading; it must be held afterwards. */
export function* gup(
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

export function counts(pages: Pages): number[] {
  return pages.map((page) => page?.count ?? -1);
}

export function pfns(pages: Pages): number[] {
  return pages.map((page) => page?.pfn ?? -1);
}

export function putAll(linux: LinuxApi, pages: Pages): void {
  linux.release_pages(pages, pages.length);
  pages.length = 0;
}

export function areaAt(mm: AddressSpace, address: number): Vma {
  const vma = mm.vmaAt(address);
  if (vma === null) throw new Error('no area');
  return vma;
}

/** A file in memory, of so many pages, each filled with its number + 1. */
export function* memoryFile(linux: LinuxApi, pages: number): Sleeps<Inode> {
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
export function withFile<T>(
  linux: LinuxApi,
  pages: number,
  body: (mm: AddressSpace, file: Inode) => Sleeps<T>,
): T {
  return asUser(linux, function* (mm) {
    const file = yield* memoryFile(linux, pages);
    const result = yield* body(mm, file);
    yield* mm.munmap(BASE, 64 * PAGE_SIZE);
    yield* linux.kernel.vm.dropCache(file);
    return result;
  });
}
