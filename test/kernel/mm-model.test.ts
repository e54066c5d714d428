// Random operations on address spaces beside a model that knows only what each page must contain. After every step
// the counts of all page frames are recomputed from the page tables.

import {
  type AddressSpace,
  type Inode,
  type KernelBase,
  PAGE_SIZE,
  type Page,
  PG_reserved,
  PTE_HUGE,
  PTE_PRESENT,
  PTE_SPECIAL,
  Random,
  type Sleeps,
  TASK_SIZE,
  VM_READ,
  VM_WRITE,
} from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { diskFile, fileByte } from './files.ts';
import { makeKernel } from './help.ts';

const test = suite('address space model');
const RW = VM_READ | VM_WRITE;
/** The only byte of each page that is used. */
const OFFSET = 7;

/** What a page of a process contains, by the model. */
interface ModelPage {
  prot: number;
  readonly shared: boolean;
  readonly file: ModelFile | null;
  readonly index: number;
  /** Contents of its own; null: as the file, or zero. */
  own: number | null;
}

interface ModelFile {
  readonly inode: Inode;
  /** By page index; what is not in here was never written. */
  readonly bytes: Map<number, number>;
}

interface ModelSpace {
  readonly mm: AddressSpace;
  readonly pages: Map<number, ModelPage>;
}

class Model {
  readonly spaces: ModelSpace[] = [];
  readonly files: ModelFile[] = [];
  readonly pins: Page[] = [];
  private readonly kernel: KernelBase;
  private readonly random: Random;
  private last = 0x100000;

  constructor(kernel: KernelBase, seed: number) {
    this.kernel = kernel;
    this.random = new Random(seed);
    this.spaces.push({ mm: kernel.vm.createSpace(), pages: new Map() });
    for (let i = 0; i < 2; i++)
      this.files.push({ inode: diskFile(kernel, 6 * PAGE_SIZE).inode, bytes: new Map() });
  }

  *step(): Sleeps<void> {
    const space = this.pick(this.spaces);
    const dice = this.random.below(100);
    if (dice < 12) yield* this.map(space);
    else if (dice < 18) yield* this.unmap(space);
    else if (dice < 24) yield* this.protect(space);
    else if (dice < 27) yield* this.discard(space);
    else if (dice < 55) yield* this.write(space);
    else if (dice < 80) yield* this.read(space);
    else if (dice < 86) yield* this.fork(space);
    else if (dice < 90) yield* this.drop(space);
    else if (dice < 93) yield* this.truncate();
    else if (dice < 97) this.pin(space);
    else this.unpin();
  }

  /** Ends everything; no page may be left. */
  *finish(): Sleeps<void> {
    while (this.pins.length > 0) this.unpin();
    for (const { mm } of this.spaces) yield* mm.drop();
    for (const { inode } of this.files) yield* this.kernel.vm.truncate(inode, 0);
  }

  /** Counts of every page frame, from what refers to it. */
  check(): void {
    const counts = new Map<Page, number>();
    const maps = new Map<Page, number>();
    const add = (to: Map<Page, number>, page: Page): void => void to.set(page, (to.get(page) ?? 0) + 1);
    for (const { mm } of this.spaces) {
      let resident = 0;
      for (
        let at = mm.pageTable.next(0, TASK_SIZE);
        at >= 0;
        at = mm.pageTable.next(at + PAGE_SIZE, TASK_SIZE)
      ) {
        const bits = mm.pageTable.bits(at);
        const page = mm.pageTable.page(at);
        assert.is(bits & PTE_HUGE, 0);
        if (page === null || (bits & (PTE_PRESENT | PTE_SPECIAL)) !== PTE_PRESENT) continue;
        assert.ok(mm.vmaAt(at) !== null, 'a page outside of every area');
        resident++;
        add(counts, page);
        add(maps, page);
      }
      assert.is(mm.resident, resident);
    }
    for (const { inode } of this.files) for (const page of inode.mapping.pages.values()) add(counts, page);
    for (const page of this.pins) add(counts, page);
    for (const page of this.kernel.frames.pages) {
      if (page.has(PG_reserved)) continue;
      if (page.mapping !== null && page.mapping.host.name === '/dev/zero') continue;
      assert.is(page._count, counts.get(page) ?? 0, `count of page ${page.pfn}`);
      assert.is(page._mapcount, maps.get(page) ?? 0, `maps of page ${page.pfn}`);
    }
  }

  private *map({ mm, pages }: ModelSpace): Sleeps<void> {
    const file = this.random.chance(0.5) ? this.pick(this.files) : null;
    const shared = file !== null && this.random.chance(0.5);
    const count = 1 + this.random.below(4);
    const offset = this.random.below(4);
    const prot = this.pick([RW, RW, VM_READ]);
    const fixed = this.random.chance(0.3) && pages.size > 0 ? { address: this.pick([...pages.keys()]) } : {};
    const where = file === null ? {} : { file: file.inode, offset: offset * PAGE_SIZE };
    const at = yield* mm.mmap({ length: count * PAGE_SIZE, prot, shared, ...fixed, ...where });
    assert.ok(at > 0);
    for (let i = 0; i < count; i++) {
      pages.set(at + i * PAGE_SIZE, { prot, shared, file, index: offset + i, own: null });
    }
  }

  private *unmap({ mm, pages }: ModelSpace): Sleeps<void> {
    const [at, count] = this.range(pages);
    assert.is(yield* mm.munmap(at, count * PAGE_SIZE), 0);
    for (let i = 0; i < count; i++) pages.delete(at + i * PAGE_SIZE);
  }

  private *protect({ mm, pages }: ModelSpace): Sleeps<void> {
    const [at] = this.range(pages);
    if (!pages.has(at)) return;
    const prot = this.pick([RW, VM_READ, 0]);
    assert.is(yield* mm.mprotect(at, PAGE_SIZE, prot), 0);
    (pages.get(at) as ModelPage).prot = prot;
  }

  private *discard({ mm, pages }: ModelSpace): Sleeps<void> {
    const [at] = this.range(pages);
    assert.is(yield* mm.discard(at, PAGE_SIZE), 0);
    const page = pages.get(at);
    if (page !== undefined) page.own = null;
  }

  private *write({ mm, pages }: ModelSpace): Sleeps<void> {
    const [at] = this.range(pages);
    const page = pages.get(at);
    const value = this.random.below(256);
    const done = yield* this.kernel.vm.userCopy.toUser(mm, at + OFFSET, Uint8Array.of(value));
    const allowed = page !== undefined && (page.prot & VM_WRITE) !== 0 && this.exists(page);
    assert.is(done, allowed ? 1 : 0);
    if (!allowed) return;
    if (page.shared) page.file?.bytes.set(page.index, value);
    else page.own = value;
  }

  private *read({ mm, pages }: ModelSpace): Sleeps<void> {
    const [at] = this.range(pages);
    const page = pages.get(at);
    const bytes = new Uint8Array(1);
    const done = yield* this.kernel.vm.userCopy.fromUser(mm, at + OFFSET, bytes);
    const allowed = page !== undefined && page.prot !== 0 && this.exists(page);
    assert.is(done, allowed ? 1 : 0);
    if (allowed) assert.is(bytes[0], this.contents(page));
  }

  private *fork({ mm, pages }: ModelSpace): Sleeps<void> {
    if (this.spaces.length > 4) return;
    const child = yield* mm.fork();
    if (child === null) throw new Error('no memory to fork');
    this.spaces.push({ mm: child, pages: new Map([...pages].map(([at, page]) => [at, { ...page }])) });
  }

  private *drop(space: ModelSpace): Sleeps<void> {
    if (this.spaces.length === 1) return;
    this.spaces.splice(this.spaces.indexOf(space), 1);
    yield* space.mm.drop();
  }

  private *truncate(): Sleeps<void> {
    const file = this.pick(this.files);
    const size = this.random.below(7) * PAGE_SIZE;
    yield* this.kernel.vm.truncate(file.inode, size);
    // What was cut off comes back from the disk when the file grows again.
    for (const index of [...file.bytes.keys()]) if (index * PAGE_SIZE >= size) file.bytes.delete(index);
    for (const { pages } of this.spaces) {
      for (const page of pages.values())
        if (page.file === file && page.index * PAGE_SIZE >= size) page.own = null;
    }
  }

  private pin({ mm, pages }: ModelSpace): void {
    const [at] = this.range(pages);
    const page = mm.pageTable.page(at);
    if (page === null || page.has(PG_reserved) || this.pins.length > 8) return;
    this.kernel.allocator.get(page);
    this.pins.push(page);
  }

  private unpin(): void {
    const page = this.pins.pop();
    if (page !== undefined) this.kernel.allocator.put(page);
  }

  private exists({ file, index }: ModelPage): boolean {
    return file === null || index * PAGE_SIZE < file.inode.size;
  }

  private contents({ own, file, index }: ModelPage): number {
    if (own !== null) return own;
    return file === null ? 0 : (file.bytes.get(index) ?? fileByte(index * PAGE_SIZE + OFFSET));
  }

  /** A page somewhere near the mapped ones, often the last one used, and how many. */
  private range(pages: Map<number, ModelPage>): [number, number] {
    const near = pages.size === 0 ? 0x100000 : this.pick([...pages.keys()]);
    if (!this.random.chance(0.5)) this.last = this.random.chance(0.1) ? near + PAGE_SIZE : near;
    return [this.last, 1 + this.random.below(3)];
  }

  private pick<T>(items: readonly T[]): T {
    return items[this.random.below(items.length)] as T; // never called without items
  }
}

/** One thread of a process, doing anything at any time; what it reads depends on the others. */
function* thread(
  kernel: KernelBase,
  mm: AddressSpace,
  files: readonly ModelFile[],
  random: Random,
): Sleeps<void> {
  const { vm, scheduler } = kernel;
  const base = 0x40000000;
  const somewhere = (): number => base + random.below(12) * PAGE_SIZE;
  const length = (): number => (1 + random.below(4)) * PAGE_SIZE;
  const file = (): Inode => (files[random.below(files.length)] as ModelFile).inode;
  const jobs: (() => Sleeps<unknown>)[] = [
    () => mm.mmap({ address: somewhere(), length: length(), prot: RW }),
    () =>
      mm.mmap({ address: somewhere(), length: length(), prot: RW, file: file(), shared: random.chance(0.5) }),
    () => mm.munmap(somewhere(), length()),
    () => mm.mprotect(somewhere(), length(), random.chance(0.5) ? RW : VM_READ),
    () => mm.discard(somewhere(), length()),
    () => vm.userCopy.fillUser(mm, somewhere(), random.below(256), length()),
    () => vm.userCopy.fromUser(mm, somewhere(), new Uint8Array(length())),
    () => vm.truncate(file(), random.below(7 * PAGE_SIZE)),
    () => vm.dropCache(file()),
    function* () {
      const child = yield* mm.fork();
      if (child === null) return;
      yield* vm.userCopy.fillUser(child, somewhere(), 1, length());
      yield* child.drop();
    },
    () => scheduler.delay(random.below(3000)),
  ];
  for (let i = 0; i < 60; i++) {
    yield* (jobs[random.below(jobs.length)] as () => Sleeps<unknown>)();
    yield* scheduler.yieldNow();
  }
}

async function runThreads(seed: number): Promise<void> {
  const kernel = await makeKernel({ seed, order: 'seeded', poison: true, lockOrder: true });
  const before = kernel.allocator.freePages;
  const model = new Model(kernel, seed);
  const [space] = model.spaces;
  if (space === undefined) throw new Error('no space');
  for (let n = 0; n < 4; n++) {
    const random = kernel.random.fork(`thread ${n}`);
    space.mm.grab();
    kernel.spawnProcess(`thread ${n}`, (_task, mm) => thread(kernel, mm, model.files, random), space.mm);
  }
  kernel.scheduler.run();
  model.check();
  kernel.scheduler.complete('end', () => model.finish());
  assert.is(kernel.allocator.freePages, before);
  assert.equal(kernel.warnings.all, []);
}

async function run(seed: number, steps: number, options: Parameters<typeof makeKernel>[0]): Promise<void> {
  const kernel = await makeKernel({ seed, poison: true, ...options });
  const before = kernel.allocator.freePages;
  const model = new Model(kernel, seed);
  kernel.scheduler.complete('model', function* () {
    for (let i = 0; i < steps; i++) {
      yield* model.step();
      model.check();
    }
    yield* model.finish();
  });
  model.spaces.length = 0;
  model.check();
  assert.is(kernel.allocator.freePages, before);
  assert.equal(kernel.warnings.all, []);
}

for (const placement of ['contiguous', 'scatter'] as const) {
  test(`every page contains what its model says, and is counted right (${placement})`, async () => {
    for (let seed = 1; seed <= 12; seed++) {
      try {
        await run(seed, 400, { placement });
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      }
    }
  });
}

test('threads that map, fault, fork and truncate at once leave every count right', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    try {
      await runThreads(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
});
