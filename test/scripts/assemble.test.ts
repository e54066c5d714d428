// The assembler: every instruction's words by the manual, what it leaves to a loader, and how it refuses.
//
// [1] LSI53C895A Technical Manual, chapter 5

import { assemble, link, type ScriptsError, toHex, toJson, toListing } from '../../src/scripts/index.ts';
import { INSTRUCTIONS as INSTRUCTION_WORDS } from '../../src/scripts/instructions.ts';
import { read } from '../run/sources.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('scripts assembler');

/** The words of one statement, with `there` at 0x20 and `data` at 0x44 of the tables. */
function words(statement: string): string {
  const source = `ABSOLUTE data = 0x44, byte = 0x5a\n${statement}\n${'NOP\n'.repeat(8)}`;
  const { words } = assemble(source.replace(/((NOP\n){4})$/, 'there: $1'));
  return Array.from(words, (word) => word.toString(16).padStart(8, '0'))
    .join(' ')
    .replace(/( 80000000 00000000){8}$/, '');
}

/** [1] 5.2 to 5.7. `there` is 4 NOPs behind the instruction. */
const INSTRUCTIONS: readonly (readonly [string, string])[] = [
  ['MOVE 512, 0x1000, WHEN DATA_IN', '09000200 00001000'],
  ['MOVE 1, PTR 0x1000, WHEN MSG_OUT', '2e000001 00001000'],
  ['MOVE FROM data, WHEN CMD', '1a000000 00000044'],
  ['MOVE FROM -8, WHEN STATUS', '1b000000 00fffff8'],
  ['MOVE FROM data, WITH DATA_IN', '11000000 00000044'],
  ['CHMOV 3, 0x1000, WHEN DATA_OUT', '00000003 00001000'],
  ['CHMOV FROM data, WITH DATA_OUT', '18000000 00000044'],
  ['MOVE64 8, 0x12:0x1000, WHEN DATA_OUT', '08000008 00001000 00000012'],
  ['CHMOV64 8, 0x1000, WHEN DATA_OUT', '00000008 00001000 00000000'],
  ['SELECT 3, 0x100', '40030000 00000100'],
  ['SELECT ATN 3, REL(there)', '45030000 00000020'],
  ['SELECT FROM data, REL(there)', '46000044 00000020'],
  ['SELECT ATN FROM data, there', '43000044 00000028'],
  ['RESELECT 7, there', '40070000 00000028'],
  ['DISCONNECT', '48000000 00000000'],
  ['WAIT DISCONNECT', '48000000 00000000'],
  ['WAIT RESELECT REL(there)', '54000000 00000020'],
  ['WAIT SELECT there', '50000000 00000028'],
  ['SET ATN', '58000008 00000000'],
  ['SET ACK AND TARGET', '58000240 00000000'],
  ['CLEAR ACK and CARRY', '60000440 00000000'],
  ['MOVE byte TO SCRATCHA1', '78355a00 00000000'],
  ['MOVE SFBR TO SCRATCHA', '6a340000 00000000'],
  ['MOVE SSID TO SFBR', '720a0000 00000000'],
  ['MOVE SSID & 0x0f TO SFBR', '740a0f00 00000000'],
  ['MOVE SFBR XOR 0x80 TO SCID', '6b048000 00000000'],
  ['MOVE SCRATCHA0 SHL TO SCRATCHA0', '79340000 00000000'],
  ['MOVE SCRATCHA0 SHR TO SFBR', '75340000 00000000'],
  ['MOVE SCRATCHA0 + 1 TO SCRATCHA0', '7e340100 00000000'],
  ['MOVE SCRATCHA0 - 1 TO SCRATCHA0', '7e34ff00 00000000'],
  ['MOVE SCRATCHA1 + 0 TO SCRATCHA1 WITH CARRY', '7f350000 00000000'],
  ['MOVE SCRATCHA0 | SFBR TO SCRATCHA0', '7ab40000 00000000'],
  ['MOVE PMJAD1.1 | 1 TO PMJAD1.1', '7a410180 00000000'],
  ['MOVE REG(0x53) TO SFBR', '72530000 00000000'],
  ['JUMP there', '80080000 00000028'],
  ['JUMP REL(there)', '80880000 00000020'],
  ['JUMP REL($)', '80880000 00fffff8'],
  ['JUMP there, WHEN MSG_IN', '870b0000 00000028'],
  ['JUMP there, IF NOT MSG_IN', '87020000 00000028'],
  ['JUMP there, IF 0x20 AND MASK 0x1f', '800c1f20 00000028'],
  ['JUMP there, WHEN DATA_IN AND byte', '810f005a 00000028'],
  ['JUMP there, IF NOT MSG_IN OR 4 AND MASK 3', '87060304 00000028'],
  ['JUMP there, IF CARRY', '80280000 00000028'],
  ['JUMP there, IF NOT CARRY', '80200000 00000028'],
  ['JUMP there, IF ATN', '800a0000 00000028'],
  ['JUMP64 0x5:0x6', '80480000 00000006 00000005'],
  ['CALL REL(there), IF STATUS', '8b8a0000 00000020'],
  ['RETURN', '90080000 00000000'],
  ['RETURN, WHEN NOT DATA_OUT', '90030000 00000000'],
  ['INT 0x42', '98080000 00000042'],
  ['INT 0x42, WHEN NOT STATUS', '9b030000 00000042'],
  ['INTFLY', '98180000 00000000'],
  ['INTFLY 7, IF 1', '981c0001 00000007'],
  ['NOP', '80000000 00000000'],
  ['MOVE MEMORY 4, 0x1000, there', 'c0000004 00001000 0000002c'],
  ['MOVE MEMORY NO FLUSH 4, 0x1000, there + 4', 'c1000004 00001000 00000030'],
  ['LOAD DSA, 4, 0x1000', 'e1100004 00001000'],
  ['LOAD SCRATCHA2, 2, DSAREL(data)', 'f1360002 00000044'],
  ['STORE SFBR, 1, there', 'e0080001 00000028'],
  ['STORE NOFLUSH SCRATCHR, 4, DSAREL(-4)', 'f29c0004 00fffffc'],
  ['DATA 0x12345678, there - 4', '12345678 00000024'],
];

for (const [statement, expected] of INSTRUCTIONS) {
  test(`ASM-01 ${statement}`, () => {
    assert.is(words(statement), expected);
  });
}

test('ASM-02 expressions count as in C, and addresses can be moved and subtracted', () => {
  const value = (text: string): number =>
    assemble(`ABSOLUTE a = 6\nx: NOP\nDATA ${text}\ny: NOP`).words[2] as number;
  assert.equal(
    [
      '1 + 2 * 3',
      '(1 + 2) * 3',
      'a << 4 | 1',
      '~0',
      '-1',
      '7 / 2',
      '0x0f ^ 5 & 4',
      'y - x',
      'y + 4',
      '0ffh',
      '0b101',
    ].map(value),
    [7, 9, 0x61, 0xffffffff, 0xffffffff, 3, 0x0b, 12, 16, 255, 5],
  );
});

test('ASM-03 statements go on after a comma or a backslash; comments and cases do not matter', () => {
  const program = assemble('absolute A = 1, ; one\n  B = 2\nmove A, \\\n  0x10, when data_in ; end\n');
  assert.equal([...program.words], [0x09000001, 0x10]);
  assert.equal(program.absolutes, { A: { value: 1, uses: [0] }, B: { value: 2, uses: [] } });
});

const LINKED = `
ABSOLUTE entry = 0x18
EXTERNAL queue, size
RELATIVE state = 8
ENTRY again
PASS(#define HELLO 1)
PROC start:
    MOVE size, queue, WHEN DATA_IN
    LOAD DSA, 4, state
again:
    SELECT ATN FROM entry, REL(start)
    JUMP again
    MOVE MEMORY 4, again + 4, queue + 4
`;

test('ASM-04 what the loader has to do is listed', () => {
  const program = assemble(LINKED, { file: 'linked.ss' });
  assert.equal(program.entries, { again: 16, start: 0 });
  assert.equal(program.labels, { start: 0, again: 16 });
  assert.equal(program.relocations, [7, 9]);
  assert.equal(program.relatives, [5]);
  assert.equal(program.tableOffsets, [{ at: 4, offset: 0x18, name: 'entry' }]);
  assert.equal(program.pass, ['#define HELLO 1']);
  assert.equal(program.unresolved, {
    queue: {
      kind: 'external',
      value: 0,
      uses: [
        { at: 1, shift: 0, bits: 32 },
        { at: 10, shift: 0, bits: 32 },
      ],
    },
    size: { kind: 'external', value: 0, uses: [{ at: 0, shift: 0, bits: 24 }] },
    state: { kind: 'relative', value: 8, uses: [{ at: 3, shift: 0, bits: 32 }] },
  });
});

test('ASM-05 link() moves a program and fills in what it left open', () => {
  const program = assemble(LINKED);
  const words = link(program, { base: 0x8000, values: { queue: 0x100, size: 512, state: 0x2000 } });
  assert.equal(
    [...words],
    [
      0x09000200, 0x100, 0xe1100004, 0x2008, 0x47000018, 0x00ffffe8, 0x80080000, 0x8010, 0xc0000004, 0x8014,
      0x104,
    ],
  );
  assert.throws(() => link(program, { base: 0, values: { queue: 1, size: 1 } }), /needs a value for "state"/);
  assert.throws(
    () => link(program, { base: 0, values: { queue: 1, size: 2 ** 24, state: 0 } }),
    /"size" is 16777216: it does not fit into 24 bits/,
  );
  assert.throws(() => link(program, { base: 0, values: { quene: 1 } }), /leaves no "quene" open/);
});

test('ASM-12 REPEAT writes a statement often, with $ where each one is, and fills up to a place', () => {
  const program = assemble(
    'a: REPEAT 3 MOVE FROM 8 + ($ - a), WHEN DATA_IN\nREPEAT (32 - ($ - a)) / 4 DATA 7\nNOP',
  );
  const move = 0x19000000;
  assert.equal([...program.words], [move, 8, move, 16, move, 24, 7, 7, 0x80000000, 0]);
});

test('ASM-06 define replaces what ABSOLUTE says', () => {
  assert.equal([...assemble('ABSOLUTE a = 1\nINT a', { define: { a: 9 } }).words], [0x98080000, 9]);
});

/** Each line is wrong; what is said of it. */
const WRONG: readonly (readonly [string, RegExp])[] = [
  ['MOV 1, 2, WHEN CMD', /^1:1: "MOV" is no instruction; did you mean "MOVE"\?$/],
  ['MOVE 1, 2, WHEN DATAIN', /^1:17: "DATAIN" is no phase; did you mean "DATA_IN"\?$/],
  ['MOVE 1, 2', /^1:10: the end of the line; a block move needs "," here$/],
  ['MOVE 0x1000000, 2, WHEN CMD', /^1:6: a count is 16777216 \(0x1000000\); it can be from 0 to 16777215$/],
  ['MOVE 256 TO SCNTL1', /^1:6: a data byte is 256 /],
  ['MOVE 1 TO SCNTL9', /^1:11: "SCNTL9" is no register; did you mean "SCNTL\d"\?$/],
  ['MOVE SCRTCHA0 TO SFBR', /^1:6: nothing declares "SCRTCHA0"; did you mean "SCRATCHA0"\?$/],
  ['MOVE SCRATCHA0 TO SCRATCHB0', /^1:6: a byte moves from a register to itself, to SFBR, or from SFBR/],
  ['MOVE SCRATCHA0 * 2 TO SFBR', /^1:16: "\*"; after a register come TO, /],
  ['MOVE SCRATCHA0 | 1 TO SFBR WITH CARRY', /^1:6: WITH CARRY goes with \+ and - only/],
  ['JUMP nowhere', /^1:6: nothing declares "nowhere"$/],
  ['here: JUMP hear', /^1:12: nothing declares "hear"; did you mean "here"\?$/],
  ['JUMP REL(5)', /^1:10: REL\(\) takes a label of this program/],
  ['JUMP 0, WHEN NOT MSG_IN AND 3', /^1:25: the chip has no AND here/],
  ['JUMP 0, WHEN CARRY', /^1:14: CARRY goes with IF/],
  ['JUMP 0, UNLESS CARRY', /^1:9: "UNLESS" is no condition; there are IF, WHEN$/],
  ['SET FOO', /^1:5: "FOO" is no signal; there are CARRY, TARGET, ACK, ATN$/],
  ['SELECT 16, 0', /^1:8: a SCSI id is 16 /],
  ['INT', /^1:4: the end of the line; INT needs the number that DSPS gets$/],
  ['LOAD SCRATCHA1, 4, 0', /^1:17: "4" must be a number of bytes from 1 to 3 here$/],
  ['LOAD NOFLUSH SCRATCHA, 4, 0', /^1:6: NOFLUSH goes with STORE$/],
  ['x: x: NOP', /^1:4: "x" is declared in line 1 already$/],
  ['SFBR: NOP', /^1:1: "SFBR" is a register; a symbol cannot be called so$/],
  ['WHEN: NOP', /^1:1: "WHEN" is a word of the language/],
  ['ENTRY foo', /^1:7: ENTRY "foo" is no label$/],
  ['ARCH 811', /^1:6: "811" is no chip; there are 810, /],
  ['ABSOLUTE a = 1 / 0', /^1:16: division by zero$/],
  ['x: MOVE x, 0, WHEN CMD', /^1:9: a count must be a number, not an address in the program$/],
  ['x: DATA x * 2', /^1:11: "\*" takes numbers/],
  ['DATA 0x123456789', /^1:6: 0x123456789 has more than 32 bits$/],
  ['NOP 1', /^1:5: "1" is too much; the statement ends before it$/],
  ['NOP # 1', /^1:5: "#" has no meaning here/],
  ['REPEAT 5000 NOP', /^1:8: the times to repeat must be a number from 0 to 4096$/],
  ['REPEAT 2 x: NOP', /^1:10: a label cannot be repeated/],
  ['REPEAT 2 MOV', /^1:10: "MOV" is no instruction/],
  ['PASS 1', /^1:6: "1"; PASS takes text in parentheses$/],
];

for (const [statement, expected] of WRONG) {
  test(`ASM-07 refused: ${statement}`, () => {
    const [problem] = problemsOf(statement);
    assert.match(problem ?? 'assembled', expected);
  });
}

function problemsOf(source: string): string[] {
  try {
    assemble(source, { file: 'x.ss' });
    return [];
  } catch (error) {
    return (error as ScriptsError).message.split('\n').map((line) => line.replace(/^x\.ss:/, ''));
  }
}

test('ASM-08 all problems of a file come at once, in order, one for a name, at most fifty', () => {
  assert.equal(problemsOf('JUMP a\nMOV 1\nJUMP a\n\nCALL b\n'), [
    '1:6: nothing declares "a"',
    '2:1: "MOV" is no instruction; did you mean "MOVE"?',
    '5:6: nothing declares "b"',
  ]);
  const many = problemsOf('MOV 1\n'.repeat(60));
  assert.is(many.length, 51);
  assert.is(many.at(-1), 'and 10 more');
});

test('ASM-09 ARCH refuses what a chip has not', () => {
  assert.equal(problemsOf('ARCH 810\nLOAD DSA, 4, 0\nCHMOV 1, 0, WHEN DATA_IN\nMOVE64 1, 0, WHEN DATA_IN'), [
    '2:6: this chip has no LOAD and STORE; MOVE MEMORY does it',
    '3:7: this chip has no CHMOV: its SCSI bus has 8 bits',
    '4:8: this chip has no 64-bit addresses',
  ]);
  assert.equal(problemsOf('ARCH 810A\nLOAD DSA, 4, 0\nARCH 875\nCHMOV 1, 0, WHEN DATA_IN'), []);
});

test('ASM-10 listing, hex and JSON say what was assembled', () => {
  const source = 'ENTRY go\nEXTERNAL there\ngo: JUMP there ; away\n';
  const program = assemble(source, { file: 'f.ss' });
  assert.is(toHex(program), '80080000 00000000\n');
  assert.is(
    toListing(program, source),
    [
      '    1                                    ENTRY go',
      '    2                                    EXTERNAL there',
      '    3  0000  80080000 00000000           go: JUMP there ; away',
      'entry       0000  go',
      'external          there  used at 0004',
      '',
    ].join('\n'),
  );
  const json = JSON.parse(toJson(program)) as { words: number[]; entries: object; file: string };
  assert.equal([json.words, json.entries, json.file], [[0x80080000, 0], { go: 0 }, 'f.ss']);
});

test('ASM-11 docs/SCRIPTS.md: its programs assemble, and it has every instruction and declaration', () => {
  const page = read('docs/SCRIPTS.md');
  const programs = [...page.matchAll(/^```scripts\n([\s\S]*?)^```/gm)].map(([, text]) => text ?? '');
  assert.ok(programs.length > 0);
  for (const text of programs) assert.equal(problemsOf(text), []);
  const words = [
    ...Object.keys(INSTRUCTION_WORDS),
    ...'ABSOLUTE RELATIVE EXTERNAL ENTRY PROC PASS ARCH DATA REPEAT'.split(' '),
  ];
  assert.equal(
    words.filter((word) => !new RegExp(`\\b${word}\\b`).test(page)),
    [],
  );
});
