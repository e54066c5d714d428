import { buildTransfer } from '../../src/drivers/scsi.ts';
import { type AddressSpace, PAGE_SIZE, Random, type Sleeps } from '../../src/kernel/index.ts';
import {
  bootLinux,
  EFAULT,
  GFP_KERNEL,
  type Iovec,
  IovIter,
  IS_ERR,
  iov_iter_init,
  READ,
  type Request,
  type RequestQueue,
  WRITE,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { inProcess } from './help.ts';
import { countsAt, finish, ISA, mapPieces, type Rig, rig, withRequest } from './mapper.ts';
import { asUser, BASE, map, pattern, peek, poke } from './user.ts';

const test = suite('mapping at random');

/** Pages of the process; the one behind them is missing. */
const PAGES = 14;
const END = BASE + PAGES * PAGE_SIZE;
/** Sets of limits that are tried with each seed, and transfers with each of them. */
const LIMITS = 4;
const TRANSFERS = 10;

/** Draws limits that a device may have. */
function drawLimits({ linux, q }: Rig, random: Random): void {
  const pick = (...values: number[]): number => values[random.below(values.length)] ?? 0;
  inProcess(linux, () => {
    linux.blk_queue_max_hw_sectors(q, pick(8, 24, 64, 255));
    linux.blk_queue_max_segments(q, pick(1, 2, 5, 17, 128));
    linux.blk_queue_max_segment_size(q, pick(4096, 12288, 65536));
    linux.blk_queue_segment_boundary(q, pick(0xfff, 0xffff, 0xffffffff));
    linux.blk_queue_virt_boundary(q, pick(0, 0, 0x1ff, 0xfff));
    linux.blk_queue_dma_alignment(q, pick(0, 3, 511));
    linux.blk_queue_dma_pad(q, pick(0, 0, 3));
    linux.blk_queue_bounce_limit(q, pick(ISA, 2 ** 32));
  });
}

/** Draws pieces of all kinds: empty, unaligned, overlapping, over the end of what is mapped. */
function drawPieces(random: Random): Iovec[] {
  const unit = random.chance(0.5) ? 512 : 1;
  const most = random.chance(0.5) ? 3 : 12;
  return Array.from({ length: 1 + random.below(most) }, () => {
    const start = random.chance(0.3) ? random.below(PAGES) * PAGE_SIZE : random.below(PAGES * PAGE_SIZE);
    const length = random.chance(0.1) ? 0 : 1 + random.below(random.chance(0.2) ? 5 * PAGE_SIZE : 3000);
    const room = random.chance(0.05) ? 2 * PAGE_SIZE : 0;
    const from = start - (start % unit);
    const len = Math.min(length, PAGES * PAGE_SIZE + room - from);
    return { iov_base: BASE + from, iov_len: len - (unit === 512 && random.chance(0.9) ? len % 512 : 0) };
  });
}

/** True when pieces are over the end of what is mapped. */
function isMissing(iov: readonly Iovec[]): boolean {
  return iov.some(({ iov_base, iov_len }) => iov_len > 0 && iov_base + iov_len > END);
}

/** What the mapping has to come to: whether it must work, may, or must not. */
function expect(q: RequestQueue, iov: readonly Iovec[], direction: number): 'works' | 'fails' | 'either' {
  const bytes = iov.reduce((sum, { iov_len }) => sum + iov_len, 0);
  if (bytes === 0 || Math.floor(bytes / 512) > q.limits.max_hw_sectors) return 'fails';
  // Memory that a copy is to be read into is not looked at before unmapping.
  if (isMissing(iov)) return direction === READ ? 'either' : 'fails';
  const touched = iov.reduce((sum, { iov_base, iov_len }) => {
    if (iov_len === 0) return sum;
    return sum + Math.ceil((iov_base + iov_len) / PAGE_SIZE) - Math.floor(iov_base / PAGE_SIZE);
  }, 0);
  return touched <= q.limits.max_segments ? 'works' : 'either';
}

/** What reading does to the model: piece by piece, up to the first byte that is not there. */
function readInto(model: Uint8Array, device: Uint8Array, iov: readonly Iovec[]): void {
  let at = 0;
  for (const { iov_base, iov_len } of iov) {
    const there = Math.min(iov_len, Math.max(0, END - iov_base));
    model.set(device.subarray(at, at + there), iov_base - BASE);
    if (there < iov_len) return;
    at += iov_len;
  }
}

/** The device kept to what the queue says of it. */
function checkSegments({ linux, q, segments }: Rig, bounced: boolean): void {
  const { limits } = q;
  for (const [i, [address, length]] of segments.entries()) {
    if (bounced) assert.ok(address + length <= ISA + 1);
    assert.ok(length <= limits.max_segment_size + 3); // padding
    const unit = limits.seg_boundary_mask + 1;
    assert.is(Math.floor(address / unit), Math.floor((address + length - 4) / unit));
    const next = segments[i + 1];
    if (limits.virt_boundary_mask === 0 || next === undefined) continue;
    assert.is((address + length) & limits.virt_boundary_mask, 0);
    assert.is(next[0] & limits.virt_boundary_mask, 0);
  }
  assert.is(linux.nr_bounce(), 0);
}

/** One transfer of a process against a model of its memory. */
function* round(it: Rig, random: Random, mm: AddressSpace, model: Uint8Array): Sleeps<boolean> {
  const direction = random.chance(0.5) ? READ : WRITE;
  const iov = drawPieces(random);
  const wanted = expect(it.q, iov, direction);
  const bytes = iov.reduce((sum, { iov_len }) => sum + iov_len, 0);
  it.device.set(pattern(bytes, random.below(256)));
  const shape = JSON.stringify({ direction, iov, limits: it.q.limits });
  const done = yield* withRequest(it, direction, function* (rq) {
    const result = yield* mapPieces(it, rq, direction, iov);
    if (wanted !== 'either')
      assert.is(result === 0, wanted === 'works', `${result} ${rq.map_error} ${shape}`);
    if (result !== 0) return false;
    assert.is(rq.__data_len, bytes);
    assert.is(yield* finish(it, rq), isMissing(iov) ? -EFAULT : 0);
    return true;
  });
  if (done) checkSegments(it, it.q.limits.bounce_pfn < 2 ** 20);
  if (done && direction === READ) readInto(model, it.device, iov);
  let at = 0;
  for (const { iov_base, iov_len } of done && direction === WRITE ? iov : []) {
    const from = iov_base - BASE;
    assert.equal(it.device.slice(at, at + iov_len), model.slice(from, from + iov_len), shape);
    at += iov_len;
  }
  assert.equal(yield* peek(it.linux, mm, BASE, model.length), model, shape);
  assert.equal(countsAt(mm, BASE, PAGES), new Array(PAGES).fill(1), shape);
  return done;
}

for (const [name, options] of [
  ['contiguous memory', {}],
  ['scattered memory', { placement: 'scatter' }],
  ['memory above 4 GiB', { userPages: { from: 2 ** 32 } }],
  ['poisoned memory', { placement: 'scatter', poison: true }],
] as const) {
  test(`MAP-01 MAP-10 MAP-17 MAP-18 bytes, references and pages come out as a model says: ${name}`, async () => {
    let done = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const it = await rig({ ...options, seed });
      const random = new Random(seed);
      for (let r = 0; r < LIMITS; r++) {
        drawLimits(it, random);
        asUser(it.linux, function* (mm) {
          const model = pattern(PAGES * PAGE_SIZE, random.below(256));
          yield* map(mm, BASE, PAGES);
          yield* poke(it.linux, mm, BASE, model);
          for (let n = 0; n < TRANSFERS; n++) if (yield* round(it, random, mm, model)) done++;
        });
      }
    }
    assert.ok(done > 100, `${done} transfers`);
  });
}

test('MAP-06 MAP-X1 any failure of an allocation or a copy leaves memory, references and pages as they were', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const it = await rig({ placement: 'scatter', seed });
    const random = new Random(seed + 100);
    const { allocator, faults, vm } = it.linux.kernel;
    drawLimits(it, random);
    asUser(it.linux, function* (mm) {
      const model = pattern(PAGES * PAGE_SIZE, seed);
      yield* map(mm, BASE, PAGES);
      yield* poke(it.linux, mm, BASE, model);
      for (let n = 0; n < 20; n++) {
        const iov = drawPieces(random);
        yield* withRequest(it, READ, function* (rq) {
          const rules = { every: 1 + random.below(4) };
          const plan = [allocator.failures, faults.slab, vm.copyFailures][random.below(3)];
          plan?.set(rules);
          const direction = random.chance(0.5) ? READ : WRITE;
          const result = yield* mapPieces(it, rq, direction, iov);
          plan?.off();
          if (result !== 0) {
            assert.is(rq.bio, null);
            return;
          }
          for (let bio = rq.bio; bio !== null; bio = bio.bi_next) {
            bio.bi_error = -5; // never sent: nothing of a bounce page comes back
            it.linux.bio_endio(bio);
          }
          const spare = it.linux.kernel.scheduler.spawn('worker', () => it.linux.blk_rq_unmap_user(rq.bio), {
            kthread: true,
          });
          yield* it.linux.kernel.scheduler.join(spare);
        });
        assert.equal(yield* peek(it.linux, mm, BASE, model.length), model);
        assert.equal(countsAt(mm, BASE, PAGES), new Array(PAGES).fill(1));
      }
    });
  }
});

// ---- real controllers

for (const kind of ['aha1542', 'ahci', 'piix-ide'] as const) {
  test(`MAP-01 MAP-17 user memory of any shape reaches the disk and comes back (${kind})`, async () => {
    const machine = await createMachine({ diskBytes: 4 << 20 });
    const controller = machine.addController({ kind });
    const disk = machine.addDisk({ bytes: 1 << 20 });
    controller.attach(disk, 0);
    const linux = bootLinux(machine, { placement: 'scatter', seed: 7 });
    const host = inProcess(linux, () => linux.scsi_add_host(controller));
    const [gendisk] = host.disks;
    if (gendisk === undefined) throw new Error('no disk');
    const { queue: q } = gendisk;
    const random = new Random(31);
    asUser(linux, function* (mm) {
      const model = pattern(PAGES * PAGE_SIZE, 3);
      yield* map(mm, BASE, PAGES);
      yield* poke(linux, mm, BASE, model);
      for (let n = 0; n < 40; n++) {
        const direction = random.chance(0.5) ? READ : WRITE;
        const sectors = 1 + random.below(24);
        const lba = random.below(2000);
        const iov = cutTo(random, sectors * 512);
        const media = disk.read(lba * 512, sectors * 512);
        yield* passthrough(rqOf(lba, sectors), direction, iov);
        const now =
          direction === READ
            ? media
            : iov.flatMap(({ iov_base, iov_len }) => [
                ...model.slice(iov_base - BASE, iov_base - BASE + iov_len),
              ]);
        assert.equal(disk.read(lba * 512, sectors * 512), Uint8Array.from(now));
        let at = 0;
        for (const { iov_base, iov_len } of direction === READ ? iov : []) {
          model.set(media.subarray(at, at + iov_len), iov_base - BASE);
          at += iov_len;
        }
        assert.equal(yield* peek(linux, mm, BASE, model.length), model);
      }
      assert.equal(countsAt(mm, BASE, PAGES), new Array(PAGES).fill(1));
    });
    assert.equal(machine.guard.findings(), []);

    function rqOf(lba: number, sectors: number) {
      return (rq: Request, writes: boolean): void => {
        rq.cmd_len = buildTransfer(rq.cmd, writes, lba, sectors, false);
      };
    }

    function* passthrough(
      fill: (rq: Request, writes: boolean) => void,
      direction: number,
      iov: readonly Iovec[],
    ): Sleeps<void> {
      const rq = yield* linux.blk_get_request(q, direction, GFP_KERNEL);
      if (IS_ERR(rq)) throw new Error('no request');
      linux.blk_rq_set_block_pc(rq);
      fill(rq, direction === WRITE);
      const iter = new IovIter();
      iov_iter_init(
        iter,
        direction,
        iov,
        iov.length,
        iov.reduce((sum, { iov_len }) => sum + iov_len, 0),
      );
      assert.is(yield* linux.blk_rq_map_user_iov(q, rq, null, iter, GFP_KERNEL), 0, String(rq.map_error));
      const { bio } = rq;
      assert.is(yield* linux.blk_execute_rq(q, gendisk ?? null, rq, false), 0);
      assert.is(yield* linux.blk_rq_unmap_user(bio), 0);
      linux.blk_put_request(rq);
    }
  });
}

/** Pieces of so many bytes in all, not overlapping. */
function cutTo(random: Random, bytes: number): Iovec[] {
  const unit = random.chance(0.5) ? 512 : 1;
  const count = Math.min(1 + random.below(5), Math.ceil(bytes / 512));
  const iov: Iovec[] = [];
  let at = BASE + random.below(8) * unit;
  for (let left = bytes, n = count; n > 0; n--) {
    const share = n === 1 ? left : Math.min(left, Math.max(unit, random.below(left / unit + 1) * unit));
    iov.push({ iov_base: at, iov_len: share });
    left -= share;
    at += share + random.below(4) * unit;
    if (left === 0) break;
  }
  return iov;
}

// ---- what it costs

test('mapping and unmapping 4 KiB leaves nothing behind, and makes no new bio, walk or array', async () => {
  const it = await rig();
  const { linux } = it;
  asUser(linux, function* (mm) {
    yield* map(mm, BASE, 1);
    yield* poke(linux, mm, BASE, pattern(PAGE_SIZE));
    const iter = new IovIter();
    iov_iter_init(iter, READ, [{ iov_base: BASE, iov_len: PAGE_SIZE }], 1, PAGE_SIZE);
    yield* withRequest(it, READ, function* (rq) {
      const cycle = function* (): Sleeps<unknown> {
        assert.is(yield* linux.blk_rq_map_user_iov(it.q, rq, null, iter, GFP_KERNEL), 0);
        const { bio } = rq;
        yield* linux.blk_rq_unmap_user(bio);
        rq.bio = rq.biotail = null;
        return bio;
      };
      const first = yield* cycle();
      for (let n = 0; n < 100; n++) assert.is(yield* cycle(), first);
    });
  });
});
