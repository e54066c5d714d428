// The disassembler: whatever the words, its text becomes the same words again.

import { Random } from '../../src/kernel/random.ts';
import { assemble, disassemble, readWords, toHex, toJson } from '../../src/scripts/index.ts';
import { assert, suite } from '../run/suite.ts';
import { randomSource } from './random-source.ts';

const test = suite('scripts disassembler');

/** Asserts that words survive the way to text and back; the text. */
function roundTrip(words: Uint32Array, longMoves = false): string {
  const text = disassemble(words, { longMoves });
  const back = assemble(text).words;
  const same = back.length === words.length && back.every((word, i) => word === words[i]);
  if (!same) assert.equal([...back].map(hex), [...words].map(hex), text);
  return text;
}

function hex(word: number): string {
  return word.toString(16).padStart(8, '0');
}

test('DIS-01 generated programs: 150,000 instructions, seed 1', () => {
  const random = new Random(1);
  let instructions = 0;
  let data = 0;
  while (instructions < 150_000) {
    const source = randomSource(random, 1 + random.below(120));
    const program = assemble(source.text);
    const longMoves = random.below(4) === 0;
    const text = roundTrip(program.words, longMoves);
    if (!source.long && !longMoves)
      data += text.split('\n').filter((line) => line.includes('DATA 0x')).length;
    instructions += source.instructions;
  }
  assert.is(data, 0); // everything that was written as an instruction comes back as one
});

test('DIS-02 random words: 200,000, seed 2', () => {
  const random = new Random(2);
  for (let done = 0; done < 200_000; ) {
    const words = Uint32Array.from({ length: 1 + random.below(200) }, () => random.next());
    roundTrip(words, random.below(2) === 0);
    done += words.length;
  }
});

test('DIS-03 words with few bits set, where instructions are dense: 200,000, seed 3', () => {
  const random = new Random(3);
  const sparse = (): number => (random.next() & random.next() & random.next()) >>> 0;
  for (let done = 0; done < 200_000; ) {
    const words = Uint32Array.from({ length: 100 }, (_, i) =>
      i % 2 === 0 || random.below(3) === 0 ? sparse() : 0,
    );
    roundTrip(words, random.below(2) === 0);
    done += words.length;
  }
});

test('DIS-04 disassembling what was disassembled gives the same text', () => {
  const random = new Random(4);
  for (let i = 0; i < 300; i++) {
    const text = disassemble(assemble(randomSource(random, 50).text).words);
    assert.is(disassemble(assemble(text).words), text);
  }
});

test('DIS-05 labels: the given ones, made-up ones for the rest, none inside an instruction', () => {
  const { words } = assemble('a: NOP\nb: JUMP REL(b)\nJUMP a\nCALL REL(b + 4)\nJUMP c\nc:');
  assert.is(
    disassemble(words, { labels: { a: 0, alias: 0, L_0008: 16 } }),
    [
      'a:',
      'alias:',
      '    NOP',
      'L_0008_:',
      '    JUMP REL(L_0008_)',
      'L_0008:',
      '    JUMP a',
      '    CALL REL($ - 12)',
      '    JUMP L_0028',
      'L_0028:',
      '',
    ].join('\n'),
  );
});

test('DIS-06 illegal instructions are DATA', () => {
  const illegal = [
    [0x30000000, 0], // indirect and table indirect
    [0x98880000, 1], // INT does not know relative addresses
    [0xa0080000, 0], // reserved opcode
    [0xe1350004, 0], // LOAD beyond the register
    [0x58000000, 0], // SET nothing
    [0x80080000], // half an instruction
  ];
  for (const words of illegal)
    assert.match(disassemble(Uint32Array.from(words)), /^ {4}DATA 0x[\da-f, x]+\n$/);
});

test('DIS-07 what asm prints can be read back, as hex and as JSON with its labels', () => {
  const program = assemble('start: JUMP REL(start)\nMOVE MEMORY 4, 1, 2');
  assert.equal(readWords(toHex(program)), { words: program.words, labels: {} });
  assert.equal(readWords(toJson(program)), { words: program.words, labels: { start: 0 } });
  assert.throws(() => readWords('80000000 xyz'), /"xyz" is no hex word of 32 bits/);
  assert.throws(() => readWords('{"words": [-1]}'), /"words" must be an array/);
});
