// Random locks, bufs, unmappings and interrupts, against a model that is a count for each page and one for each account.

import { type AddressSpace, PAGE_SIZE, Random, type Sleeps, VM_READ } from '../../src/kernel/index.ts';
import {
  B_READ,
  B_SHADOW,
  B_WRITE,
  type Buf,
  DDI_UMEM_NOSLEEP,
  DDI_UMEMLOCK_READ,
  DDI_UMEMLOCK_WRITE,
  EACCES,
  EFAULT,
  ENOMEM,
  Pointer,
  type SolarisApi,
  type UmemCookie,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { asUser, BASE, boot, inInterrupt, must, peek, poke, RW } from './help.ts';

const test = suite('solaris umem at random');

const STEPS = 20_000;
const MAPPINGS = 4;
/** Pages of a mapping. */
const PAGES = 4;
const LIMIT_PAGES = 24;

interface Held {
  readonly cookie: UmemCookie;
  readonly first: number;
  readonly pages: number;
  readonly bufs: Buf[];
}

class World {
  readonly solaris: SolarisApi;
  readonly as: AddressSpace;
  readonly random: Random;
  readonly held: Held[] = [];
  /** Whether each mapping is there, and may be written. */
  readonly mapped = Array<boolean>(MAPPINGS).fill(false);
  readonly writable = Array<boolean>(MAPPINGS).fill(true);
  /** What each page holds in its first byte. */
  readonly bytes = new Uint8Array(MAPPINGS * PAGES);
  locks = 0;
  waits = 0;

  constructor(solaris: SolarisApi, as: AddressSpace, seed: number) {
    this.solaris = solaris;
    this.as = as;
    this.random = new Random(seed);
  }

  address(page: number): number {
    return BASE + page * PAGE_SIZE;
  }

  counts(): number[] {
    const counts = Array<number>(MAPPINGS * PAGES).fill(0);
    for (const { first, pages } of this.held)
      for (let i = first; i < first + pages; i++) counts[i] = (counts[i] ?? 0) + 1;
    return counts;
  }

  charged(): number {
    return this.held.reduce((sum, { pages }) => sum + pages, 0);
  }

  *step(): Sleeps<void> {
    switch (this.random.below(6)) {
      case 0:
      case 1:
        return yield* this.lock();
      case 2:
        return yield* this.unlock(this.random.below(Math.max(1, this.held.length)));
      case 3:
        return yield* this.change();
      case 4:
        return yield* this.transfer();
      default:
        return yield* this.check();
    }
  }

  private *lock(): Sleeps<void> {
    const first = this.random.below(MAPPINGS * PAGES);
    const pages = 1 + this.random.below(MAPPINGS * PAGES - first);
    const flags = 1 + this.random.below(3);
    const over = [...this.mapped.keys()].filter((m) => m * PAGES < first + pages && (m + 1) * PAGES > first);
    const writes = (flags & DDI_UMEMLOCK_WRITE) !== 0;
    let expected = 0;
    if (this.charged() + pages > LIMIT_PAGES) expected = ENOMEM;
    else if (!over.every((m) => this.mapped[m])) expected = EFAULT;
    else if (writes && !over.every((m) => this.writable[m])) expected = EACCES;
    const cookiep = new Pointer<UmemCookie>();
    const error = yield* this.solaris.ddi_umem_lock(this.address(first), pages * PAGE_SIZE, flags, cookiep);
    assert.is(error, expected);
    if (cookiep.value === null) return;
    this.locks++;
    this.held.push({ cookie: cookiep.value, first, pages, bufs: [] });
  }

  private *unlock(index: number): Sleeps<void> {
    const [one] = this.held.splice(index, 1);
    if (one === undefined) return;
    for (const bp of one.bufs) this.solaris.freerbuf(bp);
    if (this.random.chance(0.5)) {
      this.solaris.ddi_umem_unlock(one.cookie);
    } else {
      inInterrupt(this.solaris, () => this.solaris.ddi_umem_unlock(one.cookie));
      yield* this.solaris.kernel.umemUnlockQueue.flush();
    }
  }

  /** Maps, unmaps or protects one mapping; while any of its pages is locked that waits. */
  private *change(): Sleeps<void> {
    const { kernel } = this.solaris;
    const m = this.random.below(MAPPINGS);
    const at = this.address(m * PAGES);
    if (!this.mapped[m]) {
      assert.is(yield* this.as.mmap({ address: at, length: PAGES * PAGE_SIZE, prot: RW }), at);
      this.mapped[m] = true;
      this.writable[m] = true;
      this.bytes.fill(0, m * PAGES, (m + 1) * PAGES);
      return;
    }
    const unmaps = this.random.chance(0.5);
    const prot = this.writable[m] ? VM_READ : RW;
    const task = kernel.spawnProcess(
      'other',
      () => (unmaps ? this.as.munmap(at, PAGES * PAGE_SIZE) : this.as.mprotect(at, PAGES * PAGE_SIZE, prot)),
      { proc: kernel.curproc },
    );
    const touches = ({ first, pages }: Held) => first < (m + 1) * PAGES && first + pages > m * PAGES;
    for (;;) {
      yield* kernel.scheduler.delay(10);
      const i = this.held.findIndex(touches);
      assert.is(task.state, i < 0 ? 'dead' : 'sleeping');
      if (i < 0) break;
      this.waits++;
      yield* this.unlock(i);
    }
    assert.is(task.exitValue, 0);
    if (unmaps) this.mapped[m] = false;
    else this.writable[m] = !this.writable[m];
  }

  /** The device writes through the page list, or the process does. */
  private *transfer(): Sleeps<void> {
    const one = this.held[this.random.below(Math.max(1, this.held.length))];
    if (one === undefined) return;
    const off = this.random.below(one.pages * PAGE_SIZE);
    const writes = (one.cookie.flags & DDI_UMEMLOCK_WRITE) !== 0;
    const fits = this.random.chance(0.8);
    const len = fits ? one.pages * PAGE_SIZE - off : one.pages * PAGE_SIZE - off + 1;
    const asked = this.solaris.ddi_umem_iosetup(
      one.cookie,
      off,
      len,
      (one.cookie.flags & DDI_UMEMLOCK_READ) !== 0 ? B_WRITE : B_READ,
      0,
      0,
      null,
      DDI_UMEM_NOSLEEP,
    );
    const bp = this.solaris.kernel.scheduler.atomic(asked);
    assert.is(bp !== null, fits);
    if (bp === null) return;
    one.bufs.push(bp);
    const page = one.first + Math.floor(off / PAGE_SIZE);
    const pfn = this.solaris.hat_getpfnum(this.as, bp.b_un.b_addr);
    if ((bp.b_flags & B_SHADOW) !== 0) assert.is(must(bp.b_shadow?.page()).pfn, pfn);
    if (!writes) return;
    const byte = this.random.below(256);
    if (this.random.chance(0.5)) this.solaris.kernel.memory.write8(pfn * PAGE_SIZE, byte);
    else yield* poke(this.solaris, this.as, this.address(page), Uint8Array.of(byte));
    this.bytes[page] = byte;
  }

  /** Counts, accounts and bytes are as in the model; sometimes a child is forked, which changes none of them. */
  private *check(): Sleeps<void> {
    const { kernel } = this.solaris;
    const child = this.random.chance(0.2) ? must(yield* this.as.fork()) : null;
    for (const [i, count] of this.counts().entries()) {
      const page = this.as.pageTable.page(this.address(i));
      assert.is(page === null ? 0 : this.solaris.page_lock_count(page), count);
      if (this.mapped[Math.floor(i / PAGES)])
        assert.equal(yield* peek(this.solaris, this.as, this.address(i), 1), this.bytes.slice(i, i + 1));
      if (child !== null && count > 0) assert.is.not(child.pageTable.page(this.address(i)), page);
    }
    if (child !== null) yield* child.drop();
    assert.is(kernel.curproc.p_locked_mem, this.charged() * PAGE_SIZE);
    assert.is(kernel.proj0p.max_locked_memory.usage, this.charged() * PAGE_SIZE);
  }

  *end(): Sleeps<void> {
    while (this.held.length > 0) yield* this.unlock(0);
    yield* this.check();
  }
}

for (const seed of [1, 2, 3]) {
  test(`${STEPS} steps from seed ${seed}`, async () => {
    const solaris = await boot({ seed, placement: 'scatter', poison: true });
    solaris.kernel.proj0p.max_locked_memory.limit = LIMIT_PAGES * PAGE_SIZE;
    asUser(solaris, function* (as) {
      const world = new World(solaris, as, seed);
      for (let i = 0; i < STEPS; i++) yield* world.step();
      yield* world.end();
      assert.ok(world.locks > STEPS / 50 && world.waits > STEPS / 100, `${world.locks}, ${world.waits}`);
    });
  });
}
