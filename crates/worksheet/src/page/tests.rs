//! The worked examples of the language's contract, and its laws for whole pages.

use async_trait::async_trait;
use domain::worksheet::Item;
use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::reader::Target;
use crate::source::{SourceLine, parse};

const A: &str = "0x4f1e2c8a9b7d4e53a6c0d1e2f3a4b5c6";
const B: &str = "0x7a9003d1c2e84f6b8d5e6f708192a3b4";
const P: &str = "0x9d00aa11bb22cc33dd44ee55ff667788";
const X: &str = "0xeeee0000eeee0000eeee0000eeee0000";
const W: &str = "0x5566778899aabbccddeeff0011223344";

fn uuid(text: &str) -> Uuid {
    Uuid::parse(text).unwrap()
}

fn object(value: &Value) -> BundleInfo {
    value.as_object().unwrap().clone()
}

/// Bundle `A` has a file `stats.json` and a table `out.tsv`; private and missing bundles are forbidden.
struct Files;

#[async_trait]
impl Reader for Files {
    async fn read(&self, bundle: &str, path: &str, limit: u64) -> Result<Target> {
        let text = match (bundle, path) {
            (P | X, _) => return Err(Error::permission("User ann(7) does not have sufficient permissions.")),
            (A, "stats.json") => "{\"err\":{\"dev\":0.12345,\"test\":0.2}}",
            (A, "out.tsv") => "0\t0.9\n1\t0.5\n",
            (A, "broken") => return Err(Error::internal("disk on fire")),
            (A, "plot.png") => "png",
            (_, "") => return Ok(Target::Directory),
            _ => return Ok(Target::NotFound),
        };
        let size = text.len() as u64;
        Ok(Target::File {
            bytes: text.as_bytes()[..size.min(limit) as usize].to_vec(),
            size,
        })
    }

    async fn search(&self, keywords: &[String]) -> Result<Found> {
        match keywords.join(" ").as_str() {
            "name=digits" => Ok(Found::Bundles(vec![BundleInfo::clone(&infos()[&uuid(B)])])),
            ".mine .count" => Ok(Found::Aggregate(json!(12))),
            "size=.sum" => Ok(Found::Aggregate(json!(2048))),
            "bad=" => Err(Error::usage("Unknown key: bad")),
            _ => Ok(Found::Bundles(Vec::new())),
        }
    }

    async fn search_worksheets(&self, _: &[String]) -> Result<Vec<BundleInfo>> {
        Ok(vec![object(&json!({"uuid": W, "name": "notes"}))])
    }
}

fn infos() -> HashMap<Uuid, Arc<BundleInfo>> {
    let a = json!({
        "uuid": A, "bundle_type": "run", "command": "python train.py --lr 0.1", "state": "ready", "owner_id": "7",
        "metadata": {"name": "train-a", "data_size": 5018, "description": "", "time": 75.2}, "dependencies": [],
    });
    let b = json!({
        "uuid": B, "bundle_type": "dataset", "command": null, "state": "ready", "owner_id": "7",
        "metadata": {"name": "digits", "data_size": 700, "description": "MNIST"}, "dependencies": [],
    });
    HashMap::from([
        (uuid(A), Arc::new(object(&a))),
        (uuid(B), Arc::new(object(&b))),
        (uuid(P), Arc::new(crate::genpath::private_info(uuid(P)))),
    ])
}

/// A page of the source text, item ids from 41 and sort keys from 20. `{A}` and so on stand for the bundles above.
fn page(text: &str) -> Page {
    let item = |line| match line {
        SourceLine::Item(item) => item,
        SourceLine::Bundle { spec } => Item::bundle(match spec.as_str() {
            "A" => uuid(A),
            "B" => uuid(B),
            "P" => uuid(P),
            _ => uuid(X),
        }),
        SourceLine::Worksheet { spec, .. } => Item::worksheet(if spec == "W" { uuid(W) } else { uuid(X) }),
    };
    let items = parse(text).unwrap().into_iter().map(item).enumerate();
    Page {
        items: items
            .map(|(index, item)| PlacedItem {
                id: 41 + index as i64,
                sort_key: 20 + index as i64,
                item,
            })
            .collect(),
        bundles: infos(),
        worksheets: HashMap::from([(
            uuid(W),
            Arc::new(object(&json!({"uuid": W, "name": "notes", "title": null}))),
        )]),
        owners: OwnerNames::from([("7".to_owned(), "ann".to_owned())]),
    }
}

fn full(text: &str) -> Interpretation {
    block_on(page(text).full(&Files))
}

fn brief(text: &str) -> Interpretation {
    block_on(page(text).brief(&Files))
}

/// Mode, and the text of markup, of each block.
fn outline(interpretation: &Interpretation) -> Vec<String> {
    let outline = |block: &Value| match block["mode"].as_str().unwrap() {
        "markup_block" => block["text"].as_str().unwrap().to_owned(),
        mode => mode.to_owned(),
    };
    interpretation.blocks.iter().map(outline).collect()
}

#[test]
fn e1_text_and_default_table() {
    let result = full("# Results\nTwo runs.\n\n{A}\n{B}\n{P}\n{X}");
    assert_eq!(
        result.blocks[0],
        json!({"mode": "markup_block", "text": "# Results\nTwo runs.", "ids": [41, 42], "sort_keys": [20, 21], "is_refined": true})
    );
    let table = &result.blocks[1];
    assert_eq!(
        table["header"],
        json!([
            "uuid[0:8]",
            "name",
            "summary[0:1024]",
            "data_size",
            "state",
            "description"
        ])
    );
    let row = |cells: [Value; 6]| {
        let names = table["header"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned());
        Value::Object(names.zip(cells).collect())
    };
    let null = Value::Null;
    assert_eq!(
        table["rows"],
        json!([
            row([
                json!("0x4f1e2c"),
                json!("train-a"),
                json!("! python train.py --lr 0.1"),
                json!("4.9k"),
                json!("ready"),
                json!("")
            ]),
            row([
                json!("0x7a9003"),
                json!("digits"),
                json!("[uploaded]"),
                json!("700 bytes"),
                json!("ready"),
                json!("MNIST")
            ]),
            row([
                json!("0x9d00aa"),
                json!("<private>"),
                null.clone(),
                null.clone(),
                null.clone(),
                null.clone()
            ]),
            row([
                json!("0xeeee00"),
                json!("<invalid>"),
                null.clone(),
                null.clone(),
                null.clone(),
                null
            ]),
        ])
    );
    assert_eq!(
        (&table["sort_keys"], &table["first_bundle_source_index"]),
        (&json!([23, 24, 25, 26]), &json!(3))
    );
    assert_eq!(
        (&table["using_schemas"], &table["status"]["code"]),
        (&json!(["default"]), &json!("ready"))
    );
    assert_eq!(
        table["bundles_spec"]["bundle_infos"][3],
        json!({"uuid": X, "id": 47, "sort_key": 26, "metadata": {"name": "<invalid>"}})
    );
    assert_eq!(
        result.raw_to_block,
        json!([[0, 0], [0, 0], [1, 0], [1, 0], [1, 1], [1, 2], [1, 3]])
    );
    assert_eq!(
        Value::Object(result.block_to_raw),
        json!({"0,0": 1, "1,0": 3, "1,1": 4, "1,2": 5, "1,3": 6})
    );
}

const E2: &str = "% schema s\n% add name\n% add dev /stats.json:err/dev %.3f\n% add took time duration\n% display table s\n{A}\n{P}\n{X}";

#[test]
fn e2_schema_with_a_file_field() {
    let (brief, full) = (brief(E2), full(E2));
    let schema = &full.blocks[0];
    assert_eq!(
        (&schema["ids"], &schema["sort_keys"]),
        (&json!([41, 42, 43, 44]), &json!([24]))
    );
    assert_eq!(
        schema["field_rows"][1],
        json!({"field": "dev", "generalized-path": "/stats.json:err/dev", "post-processor": "%.3f", "from_schema_name": "s"})
    );
    let forbidden = json!(["Forbidden"]);
    let dev = |interpretation: &Interpretation, row: usize| interpretation.blocks[1]["rows"][row]["dev"].clone();
    assert_eq!(dev(&brief, 0), json!([A, "/stats.json:err/dev", "%.3f"]));
    assert_eq!(
        (dev(&full, 0), dev(&full, 1), dev(&full, 2)),
        (json!("0.123"), forbidden.clone(), forbidden)
    );
    assert_eq!(full.blocks[1]["rows"][0]["took"], "1m15s");
    assert_eq!(
        (&brief.blocks[1]["status"]["code"], &full.blocks[1]["status"]["code"]),
        (&json!("briefly_loaded"), &json!("ready"))
    );
    assert_eq!(full.blocks[1]["first_bundle_source_index"], 5);
    assert_eq!(
        full.raw_to_block,
        json!([[0, 0], [1, 0], [1, 0], [1, 0], [1, 0], [1, 0], [1, 1], [1, 2]])
    );
    let rows = brief.blocks[1]["rows"].as_array().unwrap().clone();
    assert_eq!(json!(block_on(resolve_rows(rows, &Files))), full.blocks[1]["rows"]);
}

#[test]
fn e3_outlines() {
    for (text, blocks) in [
        ("a\n// note\nb\n\n\nc", vec!["a", "b", "c"]),
        ("  \nfoo\n  \nbar", vec!["  \nfoo\n  \nbar"]),
        (
            "% display contents /stats.json maxlines=3\n{A}\n\n{B}",
            vec!["contents_block", "table_block"],
        ),
        ("% display hidden\n{A}\nx", vec!["x"]),
        (
            "% display html /\n{A}\nt1\nt2",
            vec!["Error in source line 1: Unknown display mode: html", "t1\nt2"],
        ),
        (
            "% add name\n% foo\n% schema q\n% addschema nope\n{B}",
            vec![
                "Error in source line 1: `add` must be preceded by `schema` directive",
                "Error in source line 2: unknown directive `foo`",
                "Unexpected error while parsing line 4",
                "table_block",
            ],
        ),
        (
            "% schema s\n// c\n% add name",
            vec![
                "schema_block",
                "Error in source line 3: `add` must be preceded by `schema` directive",
            ],
        ),
        (
            "{A}\n{{W}}\n{B}",
            vec!["table_block", "subworksheets_block", "table_block"],
        ),
        ("Total:\n% search .mine .count", vec!["Total:\n12"]),
        ("% search size=.sum .format=size", vec!["2k"]),
        (
            "x\n% search bad=\ny",
            vec!["x", "Error in source line 2: Unknown key: bad", "y"],
        ),
        ("% search nothing\nx", vec!["x"]),
        (
            "% display contents /broken\n{A}\n{B}",
            vec!["ERROR: Unexpected error interpreting item", "contents_block"],
        ),
        (
            "% display image /x\n{X}\n{P}",
            vec![
                "ERROR: cannot access bundle",
                "ERROR: User ann(7) does not have sufficient permissions.",
            ],
        ),
        (
            "% display\n{A}",
            vec!["Unexpected error while parsing line 1", "table_block"],
        ),
        (
            "% display contents\n{A}",
            vec!["Error in source line 1: Expected '% display contents (genpath)', but got '% display contents'"],
        ),
        (
            "% display contents x\n{A}",
            vec!["Error in source line 1: Not file genpath: x"],
        ),
        (
            "% display image /x y\n{A}",
            vec!["Error in source line 1: Expected <key>=<value>, but got y"],
        ),
        (
            "% display contents /x maxlines=y\n{A}",
            vec!["Error in source line 1: maxlines must be integer"],
        ),
        ("% display contents\nx", vec!["x"]),
    ] {
        assert_eq!(outline(&full(text)), blocks, "{text}");
    }
    for (text, blocks) in [
        ("Total:\n% search .mine .count", vec!["Total:", "placeholder_block"]),
        (
            "% display table name\n% search x\n{A}",
            vec!["placeholder_block", "table_block"],
        ),
    ] {
        assert_eq!(outline(&brief(text)), blocks, "{text}");
    }
}

#[test]
fn searches_merge_with_their_neighbours_in_full_mode() {
    let table = full("{A}\n% search name=digits").blocks.remove(0);
    assert_eq!(table["sort_keys"], json!([20, null]));
    assert!(table["bundles_spec"]["bundle_infos"][1].get("id").is_none());
    let total = full("Total:\n% search .mine .count").blocks.remove(0);
    assert_eq!(
        (&total["ids"], &total["sort_keys"]),
        (&json!([41, null]), &json!([20, null]))
    );
    let shown = brief("% display table name\n% search x\n{A}");
    assert_eq!(shown.blocks[0]["directive"], "search x");
    assert_eq!(shown.blocks[1]["header"], json!(["name"]));
}

#[test]
fn each_display_mode_has_its_members() {
    let record = full("% display record name took:time:duration exitcode\n{A}")
        .blocks
        .remove(0);
    assert_eq!(
        record["rows"],
        json!([{"key": "name:", "value": "train-a"}, {"key": "took:", "value": "1m15s"}, {"key": "exitcode:"}])
    );
    assert_eq!(
        record["using_schemas"],
        json!(["name", "took:time:duration", "exitcode"])
    );

    let contents = full("% display contents /stats.json maxlines=3\n{A}").blocks.remove(0);
    assert_eq!(
        (&contents["max_lines"], &contents["target_genpath"]),
        (&json!(3), &json!("stats.json"))
    );
    assert_eq!(contents["lines"], json!(["{\"err\":{\"dev\":0.12345,\"test\":0.2}}\n"]));
    let missing = full("% display contents /nothing\n{B}").blocks.remove(0);
    assert_eq!(
        (&missing["lines"], &missing["status"]["code"]),
        (&Value::Null, &json!("not_found"))
    );
    assert_eq!(
        full("% display contents /\n{B}").blocks[0]["lines"],
        json!(["<directory>"])
    );

    let image = full("% display image /plot.png width=500 height=abc\n{A}")
        .blocks
        .remove(0);
    assert_eq!(
        (&image["width"], image.get("height"), &image["image_data"]),
        (&json!(500), None, &json!("cG5n"))
    );

    let graph = full("% display graph /out.tsv xlabel=epoch\n{A}\n{B}").blocks.remove(0);
    assert_eq!(
        (&graph["xlabel"], graph.get("ylabel"), graph.get("status")),
        (&json!("epoch"), None, None)
    );
    assert_eq!(
        graph["trajectories"][0]["points"],
        json!([["0", "0.9\n"], ["1", "0.5\n"]])
    );
    assert_eq!(
        (
            &graph["trajectories"][1]["display_name"],
            graph["trajectories"][1].get("points")
        ),
        (&json!("digits"), None)
    );
    assert_eq!(graph["bundles_spec"]["bundle_infos"].as_array().unwrap().len(), 1);

    let links = full("intro\n{{W}}\n{{Y}}\noutro").blocks.remove(1);
    assert_eq!(links["sort_keys"], json!([21, 22]));
    assert_eq!(
        links["subworksheet_infos"][1],
        json!({"uuid": X, "name": "<invalid>", "title": null, "sort_key": 22})
    );
}

#[test]
fn schemas_add_up_and_report_where_they_end() {
    let result = full("% schema s\n% add name\n% schema t\n% addschema s\n% add time\nz");
    assert_eq!(
        (&result.blocks[0]["sort_keys"], &result.blocks[1]["sort_keys"]),
        (&json!([22]), &json!([25]))
    );
    let origin = |row: usize| result.blocks[1]["field_rows"][row]["from_schema_name"].clone();
    assert_eq!((origin(0), origin(1)), (json!("s"), json!("t")));
}

#[test]
fn one_directive_gives_its_own_blocks() {
    let page = page("x\n% display record name\n% search name=digits\n% search nothing\n% wsearch .mine");
    let blocks = |text: &str| block_on(page.directive(&Directive::Text(text), true, &Files));
    assert_eq!(
        blocks("search name=digits")[0]["rows"],
        json!([{"key": "name:", "value": "digits"}])
    );
    assert!(blocks("search nothing").is_empty() && blocks("search unknown").is_empty());
    assert_eq!(blocks("wsearch .mine")[0]["mode"], "subworksheets_block");
}

#[test]
fn a_refresh_keeps_the_slots_of_brief_mode() {
    let page = page("text\n{A}\n{B}\n\n% search name=digits\n{{W}}");
    let slots = block_on(page.refresh(&[B.to_owned()], &Files));
    let modes: Vec<_> = slots.iter().map(|slot| slot["mode"].as_str()).collect();
    assert_eq!(modes, [None, Some("table_block"), Some("table_block"), None]);
    assert_eq!(slots.len(), block_on(page.brief(&Files)).blocks.len());
    let infos = slots[1]["bundles_spec"]["bundle_infos"].as_array().unwrap();
    assert_eq!((infos[0].is_null(), infos[1]["uuid"].as_str()), (true, Some(B)));
}

#[test]
fn only_true_cells_are_read_for_clients() {
    let rows = vec![
        json!({"a": ["x", "/stats.json", null], "b": [A, "stats.json", null], "c": [A, "/stats.json:err/test", null], "d": 5}),
        json!(7),
    ];
    let read = block_on(resolve_rows(rows.clone(), &Files));
    assert_eq!(
        read[0],
        json!({"a": ["x", "/stats.json", null], "b": [A, "stats.json", null], "c": 0.2, "d": 5})
    );
    assert_eq!(read[1], rows[1]);
    let query = json!({"bundle_uuid": A, "genpath": "/stats.json:err/dev", "post": "%.1f"});
    assert_eq!(block_on(file_genpaths(&[query], &Files)).unwrap(), [json!("0.1")]);
    let query = json!({"bundle_uuid": A, "genpath": "name", "post": null});
    assert_eq!(
        block_on(file_genpaths(&[query], &Files)).unwrap_err().message,
        "Not file genpath: name"
    );
}

#[test]
fn source_lines_describe_their_objects() {
    let lines = page("{A}\n{P}\n{X}\n{{W}}\n// c\n% add 'a b' c").source();
    assert_eq!(
        lines,
        [
            format!("[run train-a : python train.py --lr 0.1]{{{A}}}"),
            format!("[private <private>]{{{P}}}"),
            format!("[]{{{X}}}"),
            format!("[worksheet notes]{{{{{W}}}}}"),
            "// c".to_owned(),
            "% add 'a b' c".to_owned(),
        ]
    );
}

#[test]
fn a_stored_directive_that_cannot_be_split_is_one_error() {
    let mut page = page("a\nb");
    page.items[0].item = Item::directive("broken 'quote");
    let result = block_on(page.full(&Files));
    assert_eq!(outline(&result), ["Error in source line 1: No closing quotation", "b"]);
    assert_eq!(page.source()[0], "% broken 'quote");
}

fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        3 => "[a-c ]{1,3}",
        6 => prop::sample::select(vec!["{A}", "{B}", "{P}", "{X}", "{{W}}", "{{Y}}"]).prop_map(str::to_owned),
        8 => prop::sample::select(vec![
            "// c", "%", "% schema s", "% schema", "% add name", "% add f /stats.json:err/dev %.2f", "% add a b c d", "% addschema s",
            "% addschema t", "% display table s", "% display record name /f", "% display contents /stats.json", "% display contents",
            "% display graph /out.tsv", "% display image /plot.png width=3", "% display hidden", "% display odd", "% display",
            "% search name=digits", "% search .mine .count", "% search bad=", "% search none", "% wsearch x", "% odd",
        ]).prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn every_page_is_interpreted_and_its_maps_hold(lines in prop::collection::vec(any_line(), 0..12)) {
        let text = lines.join("\n");
        let result = brief(&text);
        let places = result.raw_to_block.as_array().unwrap();
        prop_assert_eq!(places.len(), lines.len().max(1));
        let mut last = 0;
        let mut ended = false;
        for place in places {
            ended |= place.is_null();
            prop_assert_eq!(place.is_null(), ended, "null before a place in {:?}", places);
            if let (Some(block), Some(row)) = (place[0].as_u64(), place[1].as_u64()) {
                prop_assert!(block >= last && (block as usize) < result.blocks.len());
                last = block;
                let block = &result.blocks[block as usize];
                let rows = block.get("rows").filter(|_| block["mode"] == "table_block").or(block.get("subworksheet_infos"));
                let rows = rows.and_then(Value::as_array).map_or(usize::MAX, Vec::len);
                prop_assert!((row as usize) < rows);
            }
        }
        for (key, line) in &result.block_to_raw {
            let place = &places[line.as_u64().unwrap() as usize];
            prop_assert_eq!(key, &format!("{},{}", place[0], place[1]));
        }
        let texts: Vec<String> = result.blocks.iter()
            .filter(|block| block["mode"] == "markup_block" && block.get("ids").is_some())
            .flat_map(|block| block["text"].as_str().unwrap().split('\n').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let markup: Vec<String> = page(&text).items.into_iter()
            .filter(|placed| placed.item.item_type == ItemType::Markup && !placed.item.value.is_empty())
            .map(|placed| placed.item.value)
            .collect();
        prop_assert_eq!(texts, markup);
        let _ = full(&text);
    }

    #[test]
    fn resolving_the_brief_rows_gives_the_full_rows(lines in prop::collection::vec(any_line(), 0..10)) {
        let text = lines.into_iter().filter(|line| !line.contains("search")).collect::<Vec<_>>().join("\n");
        let (brief, full) = (brief(&text), full(&text));
        prop_assert_eq!(&brief.raw_to_block, &full.raw_to_block);
        for (brief, full) in brief.blocks.iter().zip(&full.blocks) {
            if brief["mode"] == "table_block" {
                let rows = brief["rows"].as_array().unwrap().clone();
                prop_assert_eq!(json!(block_on(resolve_rows(rows, &Files))), full["rows"].clone());
            }
        }
    }
}
