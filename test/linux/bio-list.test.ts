import {
  type Bio,
  BioList,
  bio_list_add,
  bio_list_add_head,
  bio_list_empty,
  bio_list_get,
  bio_list_merge,
  bio_list_merge_head,
  bio_list_peek,
  bio_list_pop,
  bio_list_size,
  GFP_NOWAIT,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { boot, must } from './help.ts';

const test = suite('bio lists');

/** A kernel's bios, named by their sector. */
async function bios(count: number): Promise<Bio[]> {
  const linux = await boot();
  return Array.from({ length: count }, (_, i) => {
    const bio = must(linux.bio_kmalloc(GFP_NOWAIT, 0));
    bio.bi_iter.bi_sector = i;
    return bio;
  });
}

function listOf(members: readonly Bio[]): BioList {
  const list = new BioList();
  for (const bio of members) bio_list_add(list, bio);
  return list;
}

/** Empties the list from its head. */
function drain(list: BioList): number[] {
  const sectors: number[] = [];
  for (let bio = bio_list_pop(list); bio !== null; bio = bio_list_pop(list)) {
    assert.is(bio.bi_next, null);
    sectors.push(bio.bi_iter.bi_sector);
  }
  assert.ok(bio_list_empty(list));
  assert.is(list.tail, null);
  return sectors;
}

test('bios come out in the order in which they went in, those put at the head first', async () => {
  const [a, b, c] = await bios(3);
  const list = new BioList();
  bio_list_add_head(list, must(a));
  bio_list_add(list, must(b));
  bio_list_add_head(list, must(c));
  assert.is(bio_list_size(list), 3);
  assert.is(bio_list_peek(list), c);
  assert.equal(drain(list), [2, 0, 1]);
});

test('a list is merged behind or in front of another, empty ones too', async () => {
  const all = await bios(4);
  const back = listOf(all.slice(0, 2));
  bio_list_merge(back, listOf(all.slice(2)));
  assert.equal(drain(back), [0, 1, 2, 3]);
  const front = listOf(all.slice(0, 2));
  bio_list_merge_head(front, listOf(all.slice(2)));
  bio_list_merge_head(front, new BioList());
  assert.equal(drain(front), [2, 3, 0, 1]);
  const empty = new BioList();
  bio_list_merge_head(empty, listOf(all.slice(0, 1)));
  bio_list_add(empty, must(all[1]));
  assert.equal(drain(empty), [0, 1]);
});

test('all bios are taken as one chain, and the list is empty', async () => {
  const all = await bios(2);
  const list = listOf(all);
  const first = bio_list_get(list);
  assert.is(first, all[0]);
  assert.is(first?.bi_next, all[1]);
  assert.equal([bio_list_size(list), bio_list_peek(list)], [0, null]);
});
