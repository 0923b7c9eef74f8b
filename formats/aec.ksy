# Kaitai Struct description of the .aec container (https://kaitai.io). The normative text is aec.md; this file
# describes the structure and checks magic, version, reserved bits and ranges, not checksums, order and counts.
meta:
  id: aec
  title: aecodec image
  file-extension: aec
  xref:
    mime: image/x-aecodec
  license: Apache-2.0
  ks-version: 0.9
  endian: le
doc: |
  A picture of the learned image codec aecodec: a header of 36 bytes, then sections that tile the rest of the
  file. The critical sections hold the entropy-coded symbols of the picture, chunk by chunk, the coarsest first.
doc-ref: aec.md
seq:
  - id: header
    type: header
  - id: sections
    type: section
    repeat: eos
types:
  header:
    doc-ref: aec.md, section 4
    seq:
      - id: magic
        contents: [0xae, "AEC", 0x0d, 0x0a, 0x1a, 0x0a]
      - id: version
        type: u1
        valid: 1
      - id: flags
        type: u1
        valid:
          max: 15
        doc: |
          Bit 0 says that alpha sections follow, bit 1 that residuals are dependent, bit 2 that chunks have post-filters,
          bit 3 that chunks have one section each.
      - id: layout
        type: u1
        enum: layout
        valid:
          any-of: [layout::gray, layout::rgb]
      - id: depth
        type: u1
        valid:
          any-of: [8, 16]
        doc: Bits per sample of the source and of the decoded picture.
      - id: level
        type: u1
        valid:
          max: 224
        doc: Position on the model's rate scale.
      - id: chunk_units
        type: u1
        valid:
          min: 1
        doc: Side of the chunks in units of 64 pixels.
      - id: reserved
        type: u2
        valid: 0
      - id: width
        type: u4
        valid:
          min: 1
          max: 32768
      - id: height
        type: u4
        valid:
          min: 1
          max: 32768
      - id: model_id
        size: 8
      - id: checksum
        type: u4
        doc: CRC-32 of the 32 bytes before.
    instances:
      has_alpha:
        value: (flags & 1) != 0
      dependent:
        value: (flags & 2) != 0
        doc: Residuals whose table is wide enough have dependent quantisers.
      filtered:
        value: (flags & 4) != 0
        doc: The payloads of hyper-latents, or of all symbols, begin with the coefficients of post-filters.
      joined:
        value: (flags & 8) != 0
        doc: Each chunk has one section with all of its symbols.
      chunk_side:
        value: chunk_units * 64
        doc: In pixels.
      chunk_rows:
        value: (height + chunk_side - 1) / chunk_side
      chunk_columns:
        value: (width + chunk_side - 1) / chunk_side
      chunk_count:
        value: chunk_rows * chunk_columns
        doc: Each of the kinds 0x01 to 0x06 has so many sections, or, in a joined file, 0x07 alone.
  section:
    doc-ref: aec.md, section 5
    -webide-representation: '{kind}'
    seq:
      - id: kind
        type: u1
        enum: section_kind
      - id: length_low
        type: u1
      - id: length_middle
        type: u1
      - id: length_high
        type: u1
      - id: checksum
        type: u4
        doc: CRC-32 of kind, length (4 bytes together) and payload.
      - id: payload
        size: length
    instances:
      length:
        value: length_low | (length_middle << 8) | (length_high << 16)
        doc: Bytes of the payload.
      is_optional:
        value: kind.to_i >= 0x80
        doc: Unknown sections are skipped when optional, refused when not.
enums:
  layout:
    1: gray
    3: rgb
  section_kind:
    0x01: hyper_latents
    0x02: residuals_0
    0x03: residuals_1
    0x04: residuals_2
    0x05: residuals_3
    0x06: residuals_4
    0x07: symbols
    0x08: alpha
    0x81: icc_profile
    0x82: exif
    0x83: xmp
