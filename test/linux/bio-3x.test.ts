import {
  BIO_CLONED,
  BIO_UPTODATE,
  type Bio,
  bio_clear_flag,
  bio_flagged,
  bio_sectors,
  EIO,
  ENOMEM,
  GFP_KERNEL,
  GFP_NOIO,
  type LinuxApi,
  REQ_OP_WRITE,
  REQ_SYNC,
  WRITE,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { sink, TestDevice } from './device.ts';
import { assertBug, bioOf, boot, filledPage, inProcess, inTask, must, objects } from './help.ts';

const test = suite('bio 3.x');

function plain(linux: LinuxApi, nr = 1): Bio {
  return must(inProcess(linux, () => linux.bio_kmalloc(GFP_KERNEL, nr)));
}

test('LIFE-05 an error clears UPTODATE and is passed on', async () => {
  const linux = await boot();
  const bio = plain(linux);
  const seen: number[] = [];
  bio.bi_end_io = (_bio, error) => {
    seen.push(error);
  };
  linux.v3.bio_endio(bio, -ENOMEM);
  assert.equal(seen, [-ENOMEM]);
  assert.is(bio_flagged(bio, BIO_UPTODATE), false);
});

test('LIFE-05 no error and not up to date is -EIO; up to date is 0; no end_io is allowed', async () => {
  const linux = await boot();
  const seen: number[] = [];
  const end = (up: boolean): void => {
    const bio = plain(linux);
    bio.bi_end_io = (_bio, error) => {
      seen.push(error);
    };
    if (!up) bio_clear_flag(bio, BIO_UPTODATE);
    linux.v3.bio_endio(bio, 0);
  };
  end(false);
  end(true);
  linux.v3.bio_endio(plain(linux), 0);
  const failed = plain(linux);
  linux.v3.bio_io_error(failed);
  assert.equal([...seen, failed.bi_error], [-EIO, 0, -EIO]);
});

test('LIFE-11 a pair ends its master when both halves have ended and the caller let go', async () => {
  const linux = await boot();
  const before = objects(linux, 'bio_pair');
  const bio = bioOf(linux, 1);
  bio.bi_iter.bi_sector = 40;
  bio.bi_op = REQ_OP_WRITE;
  const ended: number[] = [];
  bio.bi_end_io = (_bio, error) => {
    ended.push(error);
  };
  const bp = must(inTask(linux, () => linux.v3.bio_split(bio, 3)));
  const [vec1, vec2] = [bp.bio1, bp.bio2].map(({ bi_io_vec }) => must(bi_io_vec?.[0]));
  assert.equal(
    [bp.bio1.bi_iter.bi_sector, bio_sectors(bp.bio1), vec1?.bv_offset, vec1?.bv_len],
    [40, 3, 0, 1536],
  );
  assert.equal(
    [bp.bio2.bi_iter.bi_sector, bio_sectors(bp.bio2), vec2?.bv_offset, vec2?.bv_len],
    [43, 5, 1536, 2560],
  );
  assert.equal([bp.bio1.bi_op, vec2?.bv_page], [REQ_OP_WRITE, bio.bi_io_vec?.[0]?.bv_page]);
  linux.bio_endio(bp.bio2);
  linux.v3.bio_pair_release(bp);
  assert.equal(ended, []);
  linux.bio_endio(bp.bio1);
  assert.equal(ended, [0]);
  assert.is(objects(linux, 'bio_pair'), before);
});

test('LIFE-11 the master gets the last error that was not 0', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 1);
  const bp = must(inTask(linux, () => linux.v3.bio_split(bio, 1)));
  linux.v3.bio_pair_release(bp);
  linux.v3.bio_endio(bp.bio1, -ENOMEM);
  linux.v3.bio_endio(bp.bio2, -EIO);
  assert.is(bio.bi_error, -EIO);
  const other = bioOf(linux, 1);
  const pair = must(inTask(linux, () => linux.v3.bio_split(other, 1)));
  linux.v3.bio_endio(pair.bio1, -ENOMEM);
  linux.v3.bio_endio(pair.bio2, 0);
  linux.v3.bio_pair_release(pair);
  assert.is(other.bi_error, -ENOMEM);
});

test('LIFE-11 more than one segment, or nothing on one side, is a bug', async () => {
  const linux = await boot();
  const [two, one] = [bioOf(linux, 2), bioOf(linux, 1)];
  assertBug('LIFE-11', () => inTask(linux, () => linux.v3.bio_split(two, 4)));
  assertBug('LIFE-11', () => inTask(linux, () => linux.v3.bio_split(one, 8)));
});

test('LIFE-11 pairs come from a reserve of two; a third waits', async () => {
  const linux = await boot();
  const { scheduler, faults } = linux.kernel;
  const bios = [bioOf(linux, 1), bioOf(linux, 1), bioOf(linux, 1)];
  faults.slab.failAll();
  const [first, second] = bios
    .slice(0, 2)
    .map((bio) => must(inTask(linux, () => linux.v3.bio_split(bio, 1))));
  const third = scheduler.spawn('third', () => linux.v3.bio_split(must(bios[2]), 1));
  scheduler.run({ untilNs: 1000 });
  assert.is(third.state, 'sleeping');
  for (const bio of [must(first).bio1, must(first).bio2]) linux.bio_endio(bio);
  linux.v3.bio_pair_release(must(first));
  scheduler.run({ until: third });
  assert.is(third.exitValue, first); // the element came back
  assert.is.not(third.exitValue, second);
});

test('LIFE-12 the clone of 3.11 copies the whole vec array, place included, and is CLONED', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 6);
  linux.bio_advance(bio, 4096 + 512);
  const clone = must(inTask(linux, () => linux.v3.bio_clone_bioset(bio, GFP_NOIO, linux.fs_bio_set)));
  assert.equal([clone.bi_vcnt, clone.bi_max_vecs, clone.bi_iter.bi_idx], [6, 6, 1]);
  assert.equal({ ...clone.bi_iter }, { ...bio.bi_iter });
  assert.is(bio_flagged(clone, BIO_CLONED), true);
  assert.equal({ ...must(clone.bi_io_vec)[0] }, { ...must(bio.bi_io_vec)[0] });
  assert.is.not(must(clone.bi_io_vec)[0], must(bio.bi_io_vec)[0]);
});

test('LIFE-14 add_page of 3.11 enforces max_sectors', async () => {
  const linux = await boot();
  const bio = plain(linux, 4);
  const device = new TestDevice('small');
  device.q.limits.max_sectors = 12;
  bio.bi_bdev = device;
  assert.is(linux.v3.bio_add_page(bio, filledPage(linux, 1), 4096, 0), 4096);
  assert.is(linux.v3.bio_add_page(bio, filledPage(linux, 2), 4096, 0), 0);
  assert.is(linux.v3.bio_add_page(bio, filledPage(linux, 2), 2048, 0), 2048);
});

test('LIFE-14 add_page of 3.11 enforces max_segments, after a recount', async () => {
  const linux = await boot();
  const bio = plain(linux, 8);
  const device = new TestDevice('small');
  device.q.limits.max_segments = 2;
  bio.bi_bdev = device;
  const compound = must(linux.kernel.allocator.alloc({ order: 3 }));
  const add = (n: number): number => linux.v3.bio_add_page(bio, must(linux.nth_page(compound, n)), 4096, 0);
  assert.equal([add(0), add(1), add(3), add(5)], [4096, 4096, 4096, 0]);
  assert.equal([bio.bi_vcnt, bio.bi_iter.bi_size], [3, 3 * 4096]);
});

test('LIFE-14 merge_bvec_fn can refuse, but not the first page', async () => {
  const linux = await boot();
  const bio = plain(linux, 8);
  const device = new TestDevice('striped');
  const asked: [number, number][] = [];
  device.q.merge_bvec_fn = (_q, bvm, vec) => {
    asked.push([bvm.bi_size, vec.bv_len]);
    return 0;
  };
  bio.bi_bdev = device;
  const page = filledPage(linux, 1);
  assert.is(linux.v3.bio_add_page(bio, page, 2048, 0), 2048);
  assert.is(linux.v3.bio_add_page(bio, filledPage(linux, 2), 4096, 0), 0);
  assert.equal([bio.bi_vcnt, bio.bi_iter.bi_size, asked], [1, 2048, [[2048, 4096]]]);
});

test('LIFE-16 max_sectors is not cut to 16 bits', async () => {
  const linux = await boot();
  const bio = plain(linux, 4);
  const device = new TestDevice('big');
  device.q.limits.max_sectors = 65536;
  bio.bi_bdev = device;
  assert.is(linux.v3.bio_add_page(bio, filledPage(linux, 1), 4096, 0), 4096);
});

for (const [max_sectors, max_segments, vecs] of [
  [255, 128, 32],
  [1024, 128, 128],
  [65536, 1024, 256],
  [255, 8, 8],
] as const) {
  test(`LIFE-17 max_sectors ${max_sectors}, max_segments ${max_segments}: ${vecs} vecs`, async () => {
    const linux = await boot();
    const device = new TestDevice('any');
    Object.assign(device.q.limits, { max_sectors, max_segments });
    assert.is(linux.v3.bio_get_nr_vecs(device), vecs);
  });
}

test('submit_bio of 3.x takes direction and flags in one number', async () => {
  const linux = await boot();
  const device = sink(linux);
  const bio = bioOf(linux, 1);
  bio.bi_bdev = device;
  inTask(linux, () => linux.v3.submit_bio(WRITE | REQ_SYNC, bio));
  assert.equal([device.got[0]?.bi_op, device.got[0]?.bi_opf], [REQ_OP_WRITE, REQ_SYNC]);
});
