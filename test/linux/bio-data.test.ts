import { PAGE_SIZE, type Page, PG_dirty } from '../../src/kernel/index.ts';
import {
  BIO_CLONED,
  BIO_SEG_VALID,
  type Bio,
  BvecIter,
  bio_advance_iter,
  bio_flagged,
  bio_segments,
  bio_set_flag,
  bvec_iter_len,
  bvec_iter_phys,
  ENOMEM,
  GFP_KERNEL,
  type LinuxApi,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { TestQueue } from './device.ts';
import { bioOf, boot, filledPage, inProcess, inTask, must } from './help.ts';

const test = suite('bio data');

function plain(linux: LinuxApi, nr: number): Bio {
  return must(inProcess(linux, () => linux.bio_kmalloc(GFP_KERNEL, nr)));
}

/** The vecs in use: page number, offset, length. */
function vecs(bio: Bio): [number, number, number][] {
  return must(bio.bi_io_vec)
    .slice(0, bio.bi_vcnt)
    .map(({ bv_page, bv_offset, bv_len }) => [must(bv_page).pfn, bv_offset, bv_len]);
}

/** Every byte that is left of a bio. */
function bytesOf(linux: LinuxApi, bio: Bio): number[] {
  const bytes: number[] = [];
  const iter = new BvecIter().assign(bio.bi_iter);
  const io_vec = bio.bi_io_vec ?? [];
  while (iter.bi_size > 0) {
    const length = bvec_iter_len(io_vec, iter);
    bytes.push(...linux.kernel.memory.readBytes(bvec_iter_phys(io_vec, iter), length));
    bio_advance_iter(bio, iter, length);
  }
  return bytes;
}

function pageOf(bio: Bio, i: number): Page {
  return must(bio.bi_io_vec?.[i]?.bv_page);
}

// ---- adding pages

test('LIFE-13 add_page returns all or nothing; what follows in the same page makes the vec grow', async () => {
  const linux = await boot();
  const bio = plain(linux, 2);
  const [one, two] = [filledPage(linux, 1), filledPage(linux, 2)];
  assert.is(linux.bio_add_page(bio, one, 512, 1024), 512);
  assert.is(linux.bio_add_page(bio, one, 1000, 1536), 1000);
  assert.is(linux.bio_add_page(bio, two, 100, 2536), 100); // another page, at the offset where the first ended
  assert.equal(vecs(bio), [
    [one.pfn, 1024, 1512],
    [two.pfn, 2536, 100],
  ]);
  assert.is(linux.bio_add_page(bio, one, 512, 0), 0);
  assert.is(bio.bi_iter.bi_size, 1612);
});

test('LIFE-13 nothing can be added to a clone', async () => {
  const linux = await boot();
  const bio = plain(linux, 2);
  bio_set_flag(bio, BIO_CLONED);
  assert.is(linux.bio_add_page(bio, filledPage(linux, 1), 512, 0), 0);
  assert.is(linux.kernel.warnings.all[0]?.rule, 'LIFE-13');
  assert.is(linux.bio_add_pc_page(new TestQueue(), bio, filledPage(linux, 1), 512, 0), 0);
  assert.is(bio.bi_vcnt, 0);
});

test('LIFE-14 add_page fails for want of vecs only, whatever the limits of a queue', async () => {
  const linux = await boot();
  const bio = must(inTask(linux, () => linux.bio_alloc(GFP_KERNEL, 256)));
  const page = filledPage(linux, 1);
  const other = filledPage(linux, 2);
  for (let i = 0; i < 256; i++) assert.is(linux.bio_add_page(bio, i & 1 ? page : other, 4096, 0), 4096);
  assert.is(linux.bio_add_page(bio, other, 4096, 0), 0);
  assert.is(bio.bi_iter.bi_size, 1 << 20);
});

test('LIFE-15 add_pc_page: more than max_hw_sectors is refused', async () => {
  const linux = await boot();
  const q = new TestQueue();
  q.limits.max_hw_sectors = 12;
  const bio = plain(linux, 4);
  const page = filledPage(linux, 1);
  assert.is(linux.bio_add_pc_page(q, bio, page, 4096, 0), 4096);
  assert.is(linux.bio_add_pc_page(q, bio, filledPage(linux, 1), 2560, 0), 0);
  assert.is(linux.bio_add_pc_page(q, bio, filledPage(linux, 1), 2048 + 511, 0), 2559); // whole sectors count
  assert.is(bio.bi_vcnt, 2);
});

test('LIFE-15 add_pc_page: a gap against the virt boundary is refused, the same page may grow', async () => {
  const linux = await boot();
  const q = new TestQueue();
  q.limits.virt_boundary_mask = 4095;
  const bio = plain(linux, 4);
  const page = filledPage(linux, 1);
  assert.is(linux.bio_add_pc_page(q, bio, page, 512, 0), 512);
  assert.is(linux.bio_add_pc_page(q, bio, filledPage(linux, 1), 512, 0), 0); // the vec before ends inside a page
  assert.is(linux.bio_add_pc_page(q, bio, page, 3584, 512), 3584);
  assert.is(linux.bio_add_pc_page(q, bio, filledPage(linux, 1), 512, 1024), 0); // this one begins inside a page
  assert.is(linux.bio_add_pc_page(q, bio, filledPage(linux, 1), 512, 0), 512);
  assert.is(bio.bi_vcnt, 2);
});

test('LIFE-15 add_pc_page: segments beyond max_segments, after one recount, and the bio is as before', async () => {
  const linux = await boot();
  const q = new TestQueue();
  q.limits.max_segments = 2;
  const compound = must(linux.kernel.allocator.alloc({ order: 3 }));
  const next = (n: number): Page => must(linux.nth_page(compound, n));
  const bio = plain(linux, 8);
  const add = (page: Page): number => linux.bio_add_pc_page(q, bio, page, 4096, 0);
  // 0 and 1 follow each other: two vecs, one segment. Two more apart would be three segments.
  assert.equal([add(next(0)), add(next(1)), add(next(3))], [4096, 4096, 4096]);
  bio.bi_flags |= 1 << BIO_SEG_VALID;
  const before = { ...bio, bi_iter: { ...bio.bi_iter }, vecs: vecs(bio) };
  assert.is(add(next(5)), 0);
  assert.equal({ ...bio, bi_iter: { ...bio.bi_iter }, vecs: vecs(bio) }, before);
  assert.is(add(next(4)), 4096); // it follows the last one: still two
  assert.equal([bio.bi_vcnt, bio.bi_phys_segments], [4, 2]);
});

test('LIFE-15 add_pc_page: without clustering every vec is a segment', async () => {
  const linux = await boot();
  const q = new TestQueue();
  q.limits.max_segments = 2;
  q.limits.cluster = false;
  const compound = must(linux.kernel.allocator.alloc({ order: 2 }));
  const bio = plain(linux, 8);
  const added = [0, 1, 2].map((n) =>
    linux.bio_add_pc_page(q, bio, must(linux.nth_page(compound, n)), 4096, 0),
  );
  assert.equal(added, [4096, 4096, 0]);
});

test('LIFE-15 add_pc_page: no vec left', async () => {
  const linux = await boot();
  const bio = plain(linux, 1);
  const q = new TestQueue();
  assert.is(linux.bio_add_pc_page(q, bio, filledPage(linux, 1), 4096, 0), 4096);
  assert.is(linux.bio_add_pc_page(q, bio, filledPage(linux, 1), 4096, 0), 0);
  assert.is(bio.bi_iter.bi_size, 4096);
});

// ---- copying and filling

test('LIFE-19 copy_data honours offsets inside vecs and follows bi_next on both sides', async () => {
  const linux = await boot();
  const { memory } = linux.kernel;
  const src = bioOf(linux, 1, 1000);
  src.bi_next = bioOf(linux, 2, 700);
  const dst = bioOf(linux, 2, 900);
  dst.bi_next = bioOf(linux, 1, 600);
  for (const bio of [src, src.bi_next]) {
    for (let i = 0; i < bio.bi_vcnt; i++) {
      memory.writeBytes(
        pageOf(bio, i).phys,
        Uint8Array.from({ length: 1000 }, (_, at) => at * 7 + i * 31 + (bio === src ? 0 : 128)),
      );
    }
  }
  linux.bio_advance(src, 512);
  linux.bio_advance(dst, 1024);
  const wanted = [...bytesOf(linux, src), ...bytesOf(linux, src.bi_next)];
  const old = bytesOf(linux, dst.bi_next);
  const room = dst.bi_iter.bi_size + dst.bi_next.bi_iter.bi_size;
  linux.bio_copy_data(dst, src);
  assert.ok(room < wanted.length);
  assert.equal([...bytesOf(linux, dst), ...bytesOf(linux, dst.bi_next)], wanted.slice(0, room));
  assert.is.not(bytesOf(linux, dst.bi_next).join(), old.join());
  assert.equal([...memory.readBytes(pageOf(dst, 0).phys, 900)], new Array<number>(900).fill(1)); // before its position
});

test('LIFE-19 copy_data stops when the source ends', async () => {
  const linux = await boot();
  const src = bioOf(linux, 1, 512);
  const dst = bioOf(linux, 2);
  linux.kernel.memory.fill(pageOf(src, 0).phys, 0x55, 512);
  linux.bio_copy_data(dst, src);
  const bytes = bytesOf(linux, dst);
  assert.ok(bytes.slice(0, 512).every((byte) => byte === 0x55));
  assert.ok(bytes.slice(512, 4096).every((byte) => byte === 1));
});

test('LIFE-20 alloc_pages gives each vec in use a page', async () => {
  const linux = await boot();
  const bio = plain(linux, 4);
  bio.bi_vcnt = 3;
  assert.is(
    inTask(linux, () => linux.bio_alloc_pages(bio, GFP_KERNEL)),
    0,
  );
  const pages = [0, 1, 2].map((i) => pageOf(bio, i));
  assert.is(new Set(pages).size, 3);
  assert.is(must(bio.bi_io_vec)[3]?.bv_page, null);
  assert.ok(pages.every((page) => linux.page_count(page) === 1));
});

test('LIFE-20 alloc_pages that fails gives all pages back', async () => {
  const linux = await boot();
  const { allocator, faults } = linux.kernel;
  const free = allocator.freePages;
  const bio = plain(linux, 4);
  bio.bi_vcnt = 4;
  faults.page_alloc.set({ after: 2 });
  assert.is(
    inTask(linux, () => linux.bio_alloc_pages(bio, GFP_KERNEL)),
    -ENOMEM,
  );
  assert.is(allocator.freePages, free);
});

test('LIFE-23 zero_fill fills from the position to the end, after full completion nothing', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 2);
  const start = new BvecIter().assign(bio.bi_iter);
  linux.bio_advance(bio, 4096 + 512);
  linux.zero_fill_bio(bio);
  bio.bi_iter.assign(start);
  const bytes = bytesOf(linux, bio);
  assert.ok(bytes.slice(0, 4096).every((byte) => byte === 1));
  assert.ok(bytes.slice(4096, 4608).every((byte) => byte === 2));
  assert.ok(bytes.slice(4608).every((byte) => byte === 0));
  const done = bioOf(linux, 1);
  linux.bio_advance(done, 4096);
  linux.zero_fill_bio(done);
  assert.is(linux.kernel.memory.read8(pageOf(done, 0).phys), 1);
});

// ---- dirtying

test('LIFE-22 set_pages_dirty dirties single pages, not compounds', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 2);
  const compound = must(linux.kernel.allocator.alloc({ order: 1 }));
  const mixed = plain(linux, 2);
  linux.bio_add_page(mixed, compound, PAGE_SIZE, 0);
  inTask(linux, function* () {
    yield* linux.bio_set_pages_dirty(bio);
    yield* linux.bio_set_pages_dirty(mixed);
  });
  assert.equal([linux.PageDirty(pageOf(bio, 0)), linux.PageDirty(pageOf(bio, 1))], [true, true]);
  assert.is(linux.PageDirty(compound), false);
});

test('LIFE-22 set_pages_dirty waits for the page lock', async () => {
  const linux = await boot();
  const { scheduler } = linux.kernel;
  const bio = bioOf(linux, 1);
  const page = pageOf(bio, 0);
  linux.trylock_page(page);
  const task = scheduler.spawn('dirty', () => linux.bio_set_pages_dirty(bio));
  scheduler.run({ blocked: 'return' });
  assert.equal([task.state, linux.PageDirty(page)], ['sleeping', false]);
  linux.unlock_page(page);
  scheduler.run();
  assert.equal([linux.PageDirty(page), linux.PageLocked(page)], [true, false]);
});

test('LIFE-22 check_pages_dirty with all pages dirty puts pages and bio at once, in any context', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 2);
  const pages = [pageOf(bio, 0), pageOf(bio, 1)];
  for (const page of pages) page.set(PG_dirty);
  linux.bio_check_pages_dirty(bio); // outside of any task
  assert.equal(
    pages.map((page) => linux.page_count(page)),
    [0, 0],
  );
  assert.is(bio.live, false);
});

test('LIFE-22 check_pages_dirty with a clean page leaves it and the bio to a thread', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 3);
  const compound = must(linux.kernel.allocator.alloc({ order: 1 }));
  const [dirty, clean] = [pageOf(bio, 0), pageOf(bio, 1)];
  linux.__free_page(pageOf(bio, 2));
  must(must(bio.bi_io_vec)[2]).bv_page = compound;
  dirty.set(PG_dirty);
  linux.get_page(clean); // the owner of the page looks at it afterwards
  linux.bio_check_pages_dirty(bio);
  assert.equal(
    [dirty, compound, clean].map((page) => linux.page_count(page)),
    [0, 0, 2],
  );
  assert.equal([bio.live, linux.PageDirty(clean)], [true, false]);
  linux.kernel.scheduler.run();
  assert.equal([linux.page_count(clean), linux.PageDirty(clean), bio.live], [1, true, false]);
});

test('bio_segments counts what is left', async () => {
  const linux = await boot();
  const bio = bioOf(linux, 3);
  assert.is(bio_segments(bio), 3);
  linux.bio_advance(bio, 4096);
  assert.is(bio_segments(bio), 2);
  assert.is(bio_flagged(bio, BIO_SEG_VALID), false);
});
