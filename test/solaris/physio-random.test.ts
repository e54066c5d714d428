// physio() at random against a model: memory with holes and read-only pages, pieces of all lengths, transfers that fail
// or fall short.

import { type AddressSpace, PAGE_SIZE, Random, type Sleeps, VM_READ } from '../../src/kernel/index.ts';
import {
  B_READ,
  B_WRITE,
  type Buf,
  DEV_BSIZE,
  EACCES,
  EFAULT,
  EINVAL,
  EIO,
  type SolarisApi,
  Uio,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { asUser, BASE, boot, map, pattern, peek, poke } from './help.ts';
import { atMost, DEV, DISK, type Ending, left, RamDisk } from './physio-rig.ts';

const test = suite('solaris physio random');

const PAGES = 12;
type PageKind = 'rw' | 'ro' | 'hole';

/** One call of physio, drawn. */
interface Drawn {
  readonly rw: number;
  readonly offset: number;
  readonly resid: number;
  readonly limit: number;
  readonly pieces: readonly { readonly iov_base: number; readonly iov_len: number }[];
  readonly endings: readonly Ending[];
}

/** What must come of it. */
interface Outcome {
  error: number;
  readonly calls: string[];
  /** As `left` says it. */
  state: unknown[];
}

/** The process's memory and the disk, as bytes; a page that is not there has none. */
interface World {
  readonly kinds: readonly PageKind[];
  readonly memory: Uint8Array;
  readonly disk: Uint8Array;
}

function draw(random: Random): Drawn {
  const pieces = Array.from({ length: 1 + random.below(5) }, () => ({
    iov_base: BASE + 4 * random.below((PAGES * PAGE_SIZE) / 4),
    iov_len: random.chance(0.2) ? 0 : 4 * random.below(random.chance(0.5) ? 300 : 5000),
  }));
  const total = pieces.reduce((sum, { iov_len }) => sum + iov_len, 0);
  return {
    rw: random.chance(0.5) ? B_READ : B_WRITE,
    offset: random.chance(0.05) ? -4 : 4 * random.below(20000),
    resid: random.chance(0.2) ? random.below(total + 1) : total,
    limit: 4 * (1 + random.below(random.chance(0.5) ? 400 : 9000)),
    pieces,
    endings: Array.from({ length: 40 }, () => {
      if (random.chance(0.93)) return {};
      return random.chance(0.5) ? { error: EIO, resid: 4 } : { resid: random.below(5) };
    }),
  };
}

/** Why so many bytes at an address cannot be locked; 0: they can. */
function refusal({ kinds }: World, at: number, bytes: number, rw: number): number {
  const [first, last] = [at, at + bytes - 1].map((place) => Math.floor((place - BASE) / PAGE_SIZE));
  const touched = Array.from({ length: (last ?? 0) - (first ?? 0) + 1 }, (_, i) => kinds[(first ?? 0) + i]);
  if (touched.some((kind) => kind === undefined || kind === 'hole')) return EFAULT;
  return rw === B_READ && touched.includes('ro') ? EACCES : 0;
}

function copyBytes(world: World, rw: number, at: number, offset: number, bytes: number): void {
  const start = Math.floor(offset / DEV_BSIZE) * DEV_BSIZE;
  const [memory, disk] = [at - BASE, start];
  if (rw === B_READ) world.memory.set(world.disk.subarray(disk, disk + bytes), memory);
  else world.disk.set(world.memory.subarray(memory, memory + bytes), disk);
}

/** What the specification says; changes the world accordingly. */
function expected(world: World, drawn: Drawn): Outcome {
  const { rw, limit, pieces, endings } = drawn;
  const lengths = pieces.map(({ iov_len }) => iov_len);
  const way = rw === B_READ ? 'read' : 'write';
  const calls: string[] = [];
  let [seg, resid, offset, error] = [0, drawn.resid, drawn.offset, 0];
  const outcome = (): Outcome => ({
    error,
    calls,
    state: [lengths, seg, pieces.length - seg, resid, offset],
  });
  for (const { iov_base, iov_len } of pieces) {
    let at = iov_base;
    while ((lengths[seg] ?? 0) > 0) {
      if (resid === 0) return outcome();
      if (offset < 0) error = EINVAL;
      const bytes = Math.min(iov_base + iov_len - at, resid, limit, 57344);
      if (error === 0) error = refusal(world, at, bytes, rw);
      if (error !== 0) return outcome();
      const ending = endings[calls.length] ?? {};
      calls.push(`${way} ${Math.floor(offset / DEV_BSIZE)} +0x${bytes.toString(16)} at 0x${at.toString(16)}`);
      const short = Math.min(ending.resid ?? 0, bytes);
      copyBytes(world, rw, at, offset, bytes - short);
      at += bytes - short;
      lengths[seg] = (lengths[seg] ?? 0) - bytes + short;
      resid -= bytes - short;
      offset += bytes - short;
      error = ending.error ?? 0;
      if (error !== 0 || short !== 0) return outcome();
    }
    seg++;
  }
  return outcome();
}

/** Maps the pages as the world has them, filled. */
function* build(solaris: SolarisApi, as: AddressSpace, world: World): Sleeps<void> {
  yield* map(as, BASE, PAGES);
  yield* poke(solaris, as, BASE, world.memory);
  for (const [i, kind] of world.kinds.entries()) {
    const at = BASE + i * PAGE_SIZE;
    if (kind === 'ro') assert.is(yield* as.mprotect(at, PAGE_SIZE, VM_READ), 0);
    if (kind === 'hole') assert.is(yield* as.munmap(at, PAGE_SIZE), 0);
  }
}

function* compare(solaris: SolarisApi, as: AddressSpace, world: World): Sleeps<void> {
  for (const [i, kind] of world.kinds.entries()) {
    if (kind === 'hole') continue;
    const start = i * PAGE_SIZE;
    const bytes = yield* peek(solaris, as, BASE + start, PAGE_SIZE);
    assert.equal(bytes, world.memory.subarray(start, start + PAGE_SIZE), `page ${i}`);
  }
}

for (const seed of [1, 2, 3, 4]) {
  test(`PHYS-03 PHYS-06 PHYS-07 PHYS-08 any call leaves what the model leaves, seed ${seed}`, async () => {
    const random = new Random(seed);
    const solaris = await boot({ placement: 'scatter', seed });
    for (let round = 0; round < 12; round++) {
      const disk = new RamDisk(solaris);
      disk.latencyNs = random.chance(0.5) ? 1000 : 0;
      const kinds = Array.from({ length: PAGES }, (): PageKind => {
        if (random.chance(0.85)) return 'rw';
        return random.chance(0.5) ? 'ro' : 'hole';
      });
      const world: World = { kinds, memory: pattern(PAGES * PAGE_SIZE, round), disk: disk.bytes.slice() };
      assert.is(world.disk.length, DISK);
      asUser(solaris, function* (as) {
        yield* build(solaris, as, world);
        for (let i = 0; i < 6; i++) yield* once(solaris, disk, world, draw(random));
        yield* compare(solaris, as, world);
        assert.equal(disk.bytes, world.disk);
      });
    }
  });
}

/** One call, held against the model. */
function* once(solaris: SolarisApi, disk: RamDisk, world: World, drawn: Drawn): Sleeps<void> {
  const wanted = expected(world, drawn);
  disk.calls.length = 0;
  disk.endings.length = 0;
  disk.endings.push(...drawn.endings);
  const iov = drawn.pieces.map((piece) => ({ ...piece }));
  const uio = new Uio({ iov, loffset: drawn.offset, resid: drawn.resid });
  const limit = atMost(drawn.limit);
  const mincnt = (bp: Buf): void => {
    limit(bp);
    solaris.minphys(bp);
  };
  const error = yield* solaris.physio(disk.strategy, null, DEV, drawn.rw, mincnt, uio);
  assert.equal({ error, calls: disk.calls, state: left(uio) }, wanted);
}
