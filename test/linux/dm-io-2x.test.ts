import { PAGE_SIZE, type Sleeps } from '../../src/kernel/index.ts';
import {
  type Bio,
  BioVec,
  type ConstErrorBits,
  DM_IO_BVEC,
  EIO,
  ENOMEM,
  ErrorBits,
  READ,
  REQ_FUA,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
  WRITE,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { TestDevice } from './device.ts';
import { bootDisks, bytesOf, pageList, pattern, type Rig, region, request, SECTOR } from './dm-io-rig.ts';
import { assertBug, must, objects } from './help.ts';

const test = suite('linux dm-io of 2.6');

function device(rig: Rig, end: (bio: Bio) => void = (bio) => rig.linux.bio_endio(bio)) {
  const made = Object.assign(new TestDevice('device'), { got: [] as [number, number][] });
  made.q.make_request_fn = function* (_q, bio) {
    made.got.push([bio.bi_iter.bi_sector, bio.bi_iter.bi_size / SECTOR]);
    end(bio);
  };
  return made;
}

/** Announces pages, runs a body, takes the announcement back. */
function announced<T>(rig: Rig, body: () => Sleeps<T>, pages = 4): T {
  return rig.run(function* () {
    assert.is(rig.linux.dm_io_get(pages), 0);
    const result = yield* body();
    yield* rig.linux.dm_io_put(pages);
    return result;
  });
}

test('the six calls of the page move the data of a page list, of vecs and of a vmalloc area', async () => {
  const rig = await bootDisks(2);
  const { linux, bdevs, media } = rig;
  const data = pattern(3 * PAGE_SIZE, 6);
  const list = pageList(rig, data, 512);
  const { pages } = pageList(rig, data);
  const vecs = pages.map((page) => Object.assign(new BioVec(), { bv_page: page, bv_len: PAGE_SIZE }));
  const both = (sector: number) => [region(bdevs[0], sector, 24), region(bdevs[1], sector, 24)];
  const bits = new ErrorBits();
  const told: [number[], unknown][] = [];
  const fn = (failed: ConstErrorBits, context: unknown): void => void told.push([failed.regions(), context]);
  announced(rig, function* () {
    const area = must(yield* linux.vmalloc(data.length));
    linux.vwrite(data, area, data.length);
    assert.is(yield* linux.dm_io_sync(2, both(0), WRITE, list.pl, 512, bits), 0);
    assert.is(yield* linux.dm_io_sync_bvec(2, both(32), WRITE, vecs, bits), 0);
    assert.is(yield* linux.dm_io_sync_vm(2, both(64), WRITE, area, bits), 0);
    assert.is(yield* linux.dm_io_async(2, both(96), WRITE, list.pl, 512, fn, 'list'), 0);
    assert.is(yield* linux.dm_io_async_bvec(2, both(128), WRITE, vecs, fn, 'vecs'), 0);
    assert.is(yield* linux.dm_io_async_vm(2, both(160), WRITE, area, fn, 'area'), 0);
    while (told.length < 3) yield* linux.kernel.scheduler.delay(1000);
    linux.vwrite(new Uint8Array(data.length), area, data.length);
    assert.is(yield* linux.dm_io_sync_vm(1, [region(bdevs[1], 160, 24)], READ, area, bits), 0);
    const back = new Uint8Array(data.length);
    linux.vread(back, area, back.length);
    assert.equal(back, data);
    linux.vfree(area);
    for (const { phys } of list.pages) linux.kernel.memory.fill(phys, 0, PAGE_SIZE);
    assert.is(yield* linux.dm_io_sync(1, [region(bdevs[0], 0, 24)], READ, list.pl, 512, bits), 0);
    assert.equal(bytesOf(rig, list.pages, data.length, 512), data);
  });
  for (const medium of media) {
    for (let sector = 0; sector < 192; sector += 32)
      assert.equal(medium.read(sector * SECTOR, data.length), data);
  }
  assert.equal(told.sort(), [
    [[], 'area'],
    [[], 'list'],
    [[], 'vecs'],
  ]);
  assert.is(bits.any, false);
});

test('DMIO-02 several regions are for exactly WRITE: with a flag they are refused', async () => {
  const rig = await bootDisks(1);
  const target = device(rig);
  const { pl } = pageList(rig, pattern(PAGE_SIZE, 1));
  const where = [region(target, 0, 8), region(target, 8, 8)];
  const bits = new ErrorBits();
  const told: number[][] = [];
  const fn = (failed: ConstErrorBits): void => void told.push(failed.regions());
  announced(rig, function* () {
    for (const rw of [WRITE | REQ_FUA, READ]) {
      assert.is(yield* rig.linux.dm_io_sync(2, where, rw, pl, 0, bits), -EIO);
      assert.is(yield* rig.linux.dm_io_async(2, where, rw, pl, 0, fn, null), -EIO);
    }
    assert.equal([bits.regions(), told, target.got], [[], [[0], [0]], []]);
    // One region takes any flag.
    assert.is(yield* rig.linux.dm_io_sync(1, where, WRITE | REQ_PREFLUSH, pl, 0, bits), 0);
    assert.is(target.got.length, 1);
  });
});

test('DMIO-13 a signal does not end the wait of a synchronous call', async () => {
  const rig = await bootDisks(1);
  const { linux } = rig;
  const { scheduler } = linux.kernel;
  const held: Bio[] = [];
  const target = device(rig, (bio) => void held.push(bio));
  const { pl } = pageList(rig, pattern(PAGE_SIZE, 1));
  const bits = new ErrorBits();
  bits.set(3);
  rig.run(function* () {
    assert.is(linux.dm_io_get(1), 0);
  });
  const task = scheduler.spawn('caller', () =>
    linux.dm_io_sync(1, [region(target, 0, 8)], WRITE, pl, 0, bits),
  );
  scheduler.spawn('killer', function* () {
    while (held.length === 0) yield* scheduler.yieldNow();
    scheduler.signal(task, 9, true);
    for (let i = 0; i < 20; i++) yield* scheduler.yieldNow();
    assert.equal([task.state === 'dead', bits.regions()], [false, [3]]);
    const bio = must(held.pop());
    bio.bi_error = -EIO;
    linux.bio_endio(bio);
  });
  scheduler.run({ until: task });
  assert.equal([task.exitValue, bits.regions()], [-EIO, [0]]);
});

test('DMIO-14 dm_io_get() makes room for four requests a page, dm_io_put() gives it back', async () => {
  const rig = await bootDisks(1);
  const { linux } = rig;
  const { pl } = pageList(rig, pattern(PAGE_SIZE, 1));
  const bits = new ErrorBits();
  const before = objects(linux, 'dm_io');
  const reserve = (): number => objects(linux, 'dm_io') - before;
  const bios = 'bio-184'; // without a pad, and with the vecs that are part of it
  const biosBefore = objects(linux, bios);
  assert.ok(biosBefore > 0);
  const io = () => linux.dm_io_sync(1, [region(device(rig), 0, 8)], WRITE, pl, 0, bits);
  assertBug('DMIO-14', () => rig.run(io));
  assertBug('DMIO-14', () => rig.run(() => linux.dm_io_put(1)));
  const get = (pages: number): number =>
    rig.run(function* () {
      return linux.dm_io_get(pages);
    });
  assert.equal([get(3), reserve()], [0, 12]);
  assert.equal([get(5), reserve()], [0, 32]);
  assert.is(objects(linux, bios) - biosBefore, 16);
  linux.kernel.faults.slab.failAll();
  assert.is(get(1), -ENOMEM);
  linux.kernel.faults.slab.off();
  assertBug('DMIO-14', () => rig.run(() => linux.dm_io_put(9)));
  rig.run(() => linux.dm_io_put(5));
  assert.is(reserve(), 12);
  assert.is(rig.run(io), 0);
  rig.run(() => linux.dm_io_put(3));
  assert.equal([reserve(), objects(linux, bios)], [0, biosBefore]);
  assertBug('DMIO-14', () => rig.run(io));
});

test('DMIO-14 without memory the first dm_io_get() is -ENOMEM and leaves nothing behind', async () => {
  const rig = await bootDisks(1);
  const before = rig.linux.slab_in_use();
  rig.linux.kernel.faults.slab.failAll();
  assert.is(
    rig.run(function* () {
      return rig.linux.dm_io_get(1);
    }),
    -ENOMEM,
  );
  rig.linux.kernel.faults.slab.off();
  assert.equal(rig.linux.slab_in_use(), before);
});

test('DMIO-15 all 64 regions are told apart, and a region of more than 2039 sectors is cut', async () => {
  const rig = await bootDisks(1);
  const { linux } = rig;
  const bad = [0, 30, 31, 32, 33, 52, 53, 63];
  const target = device(rig, (bio) => {
    if (bad.includes(bio.bi_iter.bi_sector / 8)) linux.bio_io_error(bio);
    else linux.bio_endio(bio);
  });
  const data = pattern(301 * PAGE_SIZE, 4);
  const { pl, pages } = pageList(rig, data);
  const where = Array.from({ length: 64 }, (_, i) => region(target, i * 8, 8));
  const told: number[][] = [];
  const fn = (failed: ConstErrorBits): void => void told.push(failed.regions());
  const bits = new ErrorBits();
  announced(rig, function* () {
    assert.is(yield* linux.dm_io_async(64, where, WRITE, pl, 0, fn, null), 0);
    assert.is(yield* linux.dm_io_sync(64, where, WRITE, pl, 0, bits), -EIO);
    assert.equal([told, bits.regions()], [[bad], bad]);
    assert.equal([bits.low, bits.high], [0xc0000001, 0x80300003]);
    const large = device(rig);
    assert.is(yield* linux.dm_io_sync(1, [region(large, 0, 301 * 8)], WRITE, pl, 0, bits), 0);
    assert.equal(large.got, [
      [0, 2048],
      [2048, 360],
    ]);
  });
  // As a real disk does it, too: the new interface with the array of vecs of the old.
  const vecs = pages
    .slice(0, 200)
    .map((page) => Object.assign(new BioVec(), { bv_page: page, bv_len: PAGE_SIZE }));
  const req = request(rig.client, REQ_OP_WRITE, { type: DM_IO_BVEC, ptr: { bvec: vecs } });
  assert.is(
    rig.run(() => linux.dm_io(req, 1, [region(rig.bdevs[0], 3, 1600)], null)),
    0,
  );
  assert.equal(must(rig.media[0]).read(3 * SECTOR, 200 * PAGE_SIZE), data.subarray(0, 200 * PAGE_SIZE));
});
