// Lists of bios through bi_next (include/linux/bio.h): what drivers queue with.

import type { Bio } from './bio-struct.ts';

/** Bios in a row. A bio is in one list at a time. */
export class BioList {
  head: Bio | null = null;
  tail: Bio | null = null;
}

export function bio_list_init(list: BioList): void {
  list.head = null;
  list.tail = null;
}

export function bio_list_empty(list: BioList): boolean {
  return list.head === null;
}

/** Number of bios; walks the list. */
export function bio_list_size(list: BioList): number {
  let size = 0;
  for (let bio = list.head; bio !== null; bio = bio.bi_next) size++;
  return size;
}

/** Appends one bio. */
export function bio_list_add(list: BioList, bio: Bio): void {
  bio.bi_next = null;
  if (list.tail === null) list.head = bio;
  else list.tail.bi_next = bio;
  list.tail = bio;
}

export function bio_list_add_head(list: BioList, bio: Bio): void {
  bio.bi_next = list.head;
  list.head = bio;
  if (list.tail === null) list.tail = bio;
}

/** Appends all of `other`, which stays as it is: do not use it on. */
export function bio_list_merge(list: BioList, other: BioList): void {
  if (other.head === null) return;
  if (list.tail === null) list.head = other.head;
  else list.tail.bi_next = other.head;
  list.tail = other.tail;
}

/** Puts all of `other` in front; it stays as it is. */
export function bio_list_merge_head(list: BioList, other: BioList): void {
  if (other.head === null || other.tail === null) return;
  if (list.head === null) list.tail = other.tail;
  else other.tail.bi_next = list.head;
  list.head = other.head;
}

export function bio_list_peek(list: BioList): Bio | null {
  return list.head;
}

/** Takes the first bio; null when there is none. */
export function bio_list_pop(list: BioList): Bio | null {
  const bio = list.head;
  if (bio === null) return null;
  list.head = bio.bi_next;
  if (list.head === null) list.tail = null;
  bio.bi_next = null;
  return bio;
}

/** Takes all bios, as a chain through bi_next. */
export function bio_list_get(list: BioList): Bio | null {
  const bio = list.head;
  bio_list_init(list);
  return bio;
}
